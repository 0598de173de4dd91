/* SPDX-License-Identifier: MIT */
#include "ledger.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "ledger_bytes.h"
#include "store.h"
#include "stream.h"

#define SPAN(text) ((struct wal_span){ (text), strlen(text) })
#define MAX_RECORD_BASE (UINT64_C(1) << 20) /* max_record is this and the version: it tells settings apart */

void ledger_init(struct ledger *ledger)
{
	memset(ledger, 0, sizeof(*ledger));
	ledger->n_sets = 1; /* version 0: nothing set */
}

void ledger_copy(struct ledger *to, const struct ledger *from)
{
	memcpy(to, from, offsetof(struct ledger, asks) + from->n_asks * sizeof(from->asks[0]));
}

/* ---- sessions ------------------------------------------------------------------------------------------ */

static int64_t session_clock(void *arg)
{
	return __atomic_add_fetch(&((struct session *)arg)->clock_ns, 1, __ATOMIC_RELAXED);
}

static void talk(void *arg, const char *line)
{
	(void)fprintf(stderr, "# %p: %s\n", arg, line);
}

void session_init(struct session *s, struct io_disk *disk, struct ledger *ledger)
{
	memset(s, 0, sizeof(*s));
	s->disk = disk;
	s->ledger = ledger;
	s->clock_ns = INT64_C(1700000000000000000);
	s->opts.flags = WAL_OPEN_CREATE;
	s->opts.interval_ns = UINT64_C(3600000000000);
	s->opts.journal_bytes = 64 * 1024;
	s->opts.segment_bytes = 4096;
	s->opts.now_ns = session_clock;
	s->opts.now_arg = s;
	s->opts.io = io_disk_io(disk);
	s->opts.trace = getenv("LOSS_TALK") ? talk : NULL;
	s->opts.trace_arg = disk;
	pthread_mutex_init(&s->lock, NULL);
}

bool session_ok(const struct session *s)
{
	return !s->dead && !s->why[0];
}

void session_wrong(struct session *s, const char *fmt, ...)
{
	va_list ap;

	if (!session_ok(s))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(s->why, sizeof(s->why), fmt, ap);
	va_end(ap);
}

static int expect_ok(struct session *s, const char *what, int r)
{
	if (r < 0 && !s->faulty)
		session_wrong(s, "%s: %s", what, wal_strerror(r));
	return r;
}

static void checkpoint_now(void *arg)
{
	(void)wal_store_flush(arg, true); /* a failure shows where it matters */
}

void session_open(struct session *s)
{
	struct wal_err err = { .code = 0 };
	int r = wal_store_open("store", &s->opts, &s->store, &err);

	if (r < 0) {
		session_wrong(s, "%s", err.text);
		s->store = NULL;
		return;
	}
	if (!s->live) {
		wal_store_stop_keeper(s->store);
		s->store->journal.need_space = checkpoint_now;
	}
}

static void drop_handles(struct session *s)
{
	for (uint32_t i = 0; i < LEDGER_STREAMS; i++) {
		wal_stream_unref(s->handles[i]);
		s->handles[i] = NULL;
	}
}

void session_close(struct session *s)
{
	drop_handles(s);
	if (!s->store)
		return;
	if (expect_ok(s, "close", wal_store_close(s->store)) == 0) {
		struct ledger *l = s->ledger;

		for (uint32_t i = 0; i < l->n_streams; i++) /* all is on disk */
			if (l->streams[i].state == LEDGER_THERE)
				l->streams[i].sure = true;
		for (uint32_t k = 0; k < l->n_asks; k++)
			if (l->asks[k].seq >= l->streams[l->asks[k].stream].synced)
				l->streams[l->asks[k].stream].synced = l->asks[k].seq + 1;
	}
	s->store = NULL;
}

void session_die(struct session *s)
{
	s->dead = true;
	io_disk_off(s->disk);
	drop_handles(s);
	if (s->store)
		(void)wal_store_close(s->store); /* nothing of it gets through */
	s->store = NULL;
}

/* ---- acts ---------------------------------------------------------------------------------------------- */

static void lock(struct session *s)
{
	pthread_mutex_lock(&s->lock);
}

static void unlock(struct session *s)
{
	pthread_mutex_unlock(&s->lock);
}

/* A version for settings; the engine is given the copy in the ledger. */
static uint32_t new_version(struct session *s, const struct wal_settings *settings)
{
	struct ledger *l = s->ledger;
	uint32_t v = l->n_sets < LEDGER_SETS ? l->n_sets++ : LEDGER_SETS - 1;

	l->sets[v] = settings ? *settings : (struct wal_settings){ .durability = 0 };
	l->sets[v].max_record = MAX_RECORD_BASE + v;
	return v;
}

static void note_limits(struct ledger_stream *stream, const struct wal_settings *settings)
{
	uint64_t keep = settings->retention_records;

	if (keep && keep != WAL_FOREVER && (stream->keep == 0 || keep < stream->keep))
		stream->keep = keep;
	if ((settings->retention_age_ns && settings->retention_age_ns != WAL_FOREVER) ||
	    (settings->retention_bytes && settings->retention_bytes != WAL_FOREVER))
		stream->loose = true;
}

static bool is_durable(struct session *s, uint32_t i)
{
	struct wal_stat stat = { .durable = false };

	(void)wal_stream_stat(s->handles[i], WAL_STAT_CHEAP, &stat); /* gone: then it is all the same */
	return stat.durable;
}

int ledger_create(struct session *s, const char *name, const struct wal_settings *settings, uint32_t *ret_i)
{
	static const struct wal_attr attr = { 1, 1, 0701 };
	struct ledger *l = s->ledger;
	uint32_t i = l->n_streams, v;
	struct ledger_stream *stream = &l->streams[i];
	int r;

	*ret_i = 0;
	if (!s->store || i == LEDGER_STREAMS)
		return -EIO;
	lock(s);
	v = new_version(s, settings);
	*stream = (struct ledger_stream){ .state = LEDGER_MAKING,
					  .synced = 1,
					  .trimmed = 1,
					  .trimmed_may = 1,
					  .attr = 1,
					  .attr_may = 1,
					  .set = v,
					  .set_may = v };
	(void)snprintf(stream->name, sizeof(stream->name), "%s", name);
	note_limits(stream, &l->sets[v]);
	l->n_streams++;
	unlock(s);
	r = wal_stream_create(s->store, SPAN(name), &attr, &l->sets[v], &s->handles[i]);
	if (expect_ok(s, "create", r) < 0)
		return r;
	lock(s);
	stream->state = LEDGER_THERE;
	stream->id = wal_stream_id(s->handles[i]);
	stream->durable = stream->sure = is_durable(s, i);
	unlock(s);
	*ret_i = i;
	return r;
}

/* Notes n records that are asked for, and fills the entries. -1: the ledger is full. */
static int ask(struct session *s, uint8_t writer, uint32_t i, uint32_t n, uint32_t header_len, uint32_t len,
	       uint32_t *ret_first)
{
	struct ledger *l = s->ledger;
	int r = -1;

	lock(s);
	if (l->n_asks + n <= LEDGER_ASKS) {
		*ret_first = l->n_asks;
		for (uint32_t k = 0; k < n; k++)
			l->asks[l->n_asks++] = (struct ledger_ask){ .header_len = header_len,
								    .len = len,
								    .batch = l->batches,
								    .stream = (uint8_t)i,
								    .writer = writer,
								    .may = true };
		l->batches++;
		r = 0;
	}
	unlock(s);
	return r;
}

static void acknowledged(struct session *s, uint32_t i, uint32_t first, uint32_t n, const struct wal_append *req)
{
	struct ledger_stream *stream = &s->ledger->streams[i];

	lock(s);
	for (uint32_t k = 0; k < n; k++) {
		s->ledger->asks[first + k].seq = req->seq + k;
		s->ledger->asks[first + k].may = false;
	}
	if (stream->durable || req->flags & WAL_APPEND_DURABLE) {
		if (stream->synced < req->seq + n)
			stream->synced = req->seq + n;
		stream->sure = true;
	}
	unlock(s);
}

int ledger_append_as(struct session *s, uint8_t writer, uint32_t i, uint32_t n, uint32_t header_len, uint32_t len,
		     uint32_t flags)
{
	struct wal_entry entries[LEDGER_BATCH];
	struct wal_append req = { .entries = entries, .n = n, .flags = flags };
	uint8_t *bytes;
	uint32_t first;
	int r;

	len = len < LEDGER_CONTENT_MIN ? LEDGER_CONTENT_MIN : len;
	if (!s->handles[i] || n > LEDGER_BATCH || ask(s, writer, i, n, header_len, len, &first) < 0)
		return -EIO;
	bytes = malloc((size_t)n * (header_len + len));
	if (!bytes)
		abort();
	for (uint32_t k = 0; k < n; k++) {
		uint8_t *at = bytes + (size_t)k * (header_len + len);

		ledger_fill_header(at, header_len, first + k);
		ledger_fill_content(at + header_len, len, first + k);
		entries[k] = (struct wal_entry){ { at, header_len }, { at + header_len, len } };
	}
	r = wal_append(s->handles[i], &req);
	free(bytes);
	if (expect_ok(s, "append", r) == 0)
		acknowledged(s, i, first, n, &req);
	return r;
}

int ledger_append(struct session *s, uint32_t i, uint32_t n, uint32_t header_len, uint32_t len, uint32_t flags)
{
	return ledger_append_as(s, 0, i, n, header_len, len, flags);
}

int ledger_append_draft(struct session *s, uint32_t i, uint32_t header_len, uint32_t len, uint32_t flags)
{
	struct wal_append req = { .flags = flags };
	uint32_t first;
	uint8_t *bytes;
	int r;

	if (!s->handles[i] || ask(s, 0, i, 1, header_len, len, &first) < 0)
		return -EIO;
	bytes = malloc((size_t)header_len + len);
	if (!bytes)
		abort();
	ledger_fill_header(bytes, header_len, first);
	ledger_fill_content(bytes + header_len, len, first);
	r = wal_draft_open(s->handles[i], (struct wal_span){ bytes, header_len }, &req.draft);
	if (r == 0) {
		r = wal_draft_write(req.draft, bytes + header_len, len / 2);
		if (r == 0)
			r = wal_draft_write(req.draft, bytes + header_len + len / 2, len - len / 2);
		if (r == 0)
			r = wal_append(s->handles[i], &req);
		if (r < 0)
			wal_draft_abort(req.draft);
	}
	free(bytes);
	if (expect_ok(s, "append a draft", r) == 0)
		acknowledged(s, i, first, 1, &req);
	return r;
}

int ledger_trim(struct session *s, uint32_t i, uint64_t first, uint32_t flags)
{
	struct ledger_stream *stream = &s->ledger->streams[i];
	int r;

	if (!s->handles[i])
		return -EIO;
	lock(s);
	if (first > stream->trimmed_may)
		stream->trimmed_may = first;
	unlock(s);
	r = wal_trim(s->handles[i], first, flags);
	if (expect_ok(s, "trim", r) == 0 && flags & WAL_TRIM_DURABLE && first > stream->trimmed)
		stream->trimmed = first;
	return r;
}

int ledger_retain(struct session *s, uint32_t i)
{
	return s->handles[i] ? expect_ok(s, "retain", wal_retain(s->handles[i])) : -EIO;
}

int ledger_rename(struct session *s, uint32_t i, const char *name)
{
	struct ledger_stream *stream = &s->ledger->streams[i];
	int r;

	if (!s->handles[i])
		return -EIO;
	lock(s);
	(void)snprintf(stream->other, sizeof(stream->other), "%s", name);
	unlock(s);
	r = wal_stream_rename(s->handles[i], SPAN(name));
	if (expect_ok(s, "rename", r) < 0)
		return r;
	lock(s);
	(void)snprintf(stream->name, sizeof(stream->name), "%s", name);
	stream->other[0] = '\0';
	stream->sure = true; /* it is durable, and so is what it is about */
	unlock(s);
	return r;
}

int ledger_delete(struct session *s, uint32_t i)
{
	struct ledger_stream *stream = &s->ledger->streams[i];
	int r;

	if (!s->handles[i])
		return -EIO;
	stream->state = LEDGER_GOING;
	r = wal_stream_delete(s->handles[i], WAL_DELETE_RECORDS);
	if (expect_ok(s, "delete", r) < 0)
		return r;
	stream->state = LEDGER_GONE;
	wal_stream_unref(s->handles[i]);
	s->handles[i] = NULL;
	return r;
}

int ledger_set_attr(struct session *s, uint32_t i)
{
	struct ledger_stream *stream = &s->ledger->streams[i];
	struct wal_attr attr;
	int r;

	if (!s->handles[i])
		return -EIO;
	lock(s);
	stream->attr_may++;
	attr = (struct wal_attr){ stream->attr_may, stream->attr_may, 0700 + stream->attr_may % 64 };
	unlock(s);
	r = wal_stream_set_attr(s->handles[i], &attr);
	if (expect_ok(s, "set the owner", r) == 0 && stream->durable)
		stream->attr = attr.uid;
	return r;
}

/* What was not synced is, where a change to durable has returned. */
static void covered(struct session *s, uint32_t i)
{
	struct ledger *l = s->ledger;

	l->streams[i].sure = true;
	for (uint32_t k = 0; k < l->n_asks; k++)
		if (l->asks[k].stream == i && l->asks[k].seq >= l->streams[i].synced)
			l->streams[i].synced = l->asks[k].seq + 1;
}

int ledger_set(struct session *s, uint32_t i, const struct wal_settings *settings)
{
	struct ledger_stream *stream = &s->ledger->streams[i];
	bool durable = stream->durable;
	uint32_t v;
	int r;

	if (!s->handles[i])
		return -EIO;
	lock(s);
	v = stream->set_may = new_version(s, settings);
	note_limits(stream, settings);
	unlock(s);
	r = wal_stream_set_settings(s->handles[i], &s->ledger->sets[v]);
	if (expect_ok(s, "set", r) < 0)
		return r;
	lock(s);
	stream->durable = is_durable(s, i);
	if (durable || stream->durable)
		stream->set = v;
	if (stream->durable)
		covered(s, i);
	unlock(s);
	return r;
}

int ledger_set_store(struct session *s, const struct wal_settings *settings)
{
	struct ledger *l = s->ledger;
	uint32_t v;
	int r;

	if (!s->store)
		return -EIO;
	lock(s);
	v = l->store_set_may = new_version(s, settings);
	for (uint32_t i = 0; i < l->n_streams; i++)
		note_limits(&l->streams[i], settings);
	unlock(s);
	r = wal_store_set_settings(s->store, &l->sets[v]);
	if (expect_ok(s, "set the store's", r) < 0)
		return r;
	l->store_set = v;
	for (uint32_t i = 0; i < l->n_streams; i++) {
		if (!s->handles[i])
			continue;
		l->streams[i].durable = is_durable(s, i);
		covered(s, i); /* it syncs */
	}
	return r;
}

int ledger_sync(struct session *s, uint32_t i)
{
	int r = s->handles[i] ? expect_ok(s, "sync", wal_stream_sync(s->handles[i])) : -EIO;

	if (r == 0)
		covered(s, i);
	return r;
}

static int all_covered(struct session *s, const char *what, int r)
{
	if (expect_ok(s, what, r) < 0)
		return r;
	for (uint32_t i = 0; i < s->ledger->n_streams; i++)
		if (s->ledger->streams[i].state == LEDGER_THERE)
			covered(s, i);
	return r;
}

int ledger_sync_store(struct session *s)
{
	return s->store ? all_covered(s, "sync the store", wal_store_sync(s->store)) : -EIO;
}

int ledger_checkpoint(struct session *s)
{
	return s->store ? all_covered(s, "checkpoint", wal_store_flush(s->store, true)) : -EIO;
}

uint64_t ledger_next(struct session *s, uint32_t i)
{
	struct wal_stat stat = { .next = 1 };

	if (s->handles[i])
		(void)wal_stream_stat(s->handles[i], 0, &stat); /* deleted: any number will do */
	return stat.next;
}
