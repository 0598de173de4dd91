/* SPDX-License-Identifier: MIT
 *
 * The judge: a store that was opened after a power loss against its ledger. First the streams that are there, by the store's list of
 * keys, each with its id, owner, settings; then their records, one by one. What is not wrong is settled: it is there from now on,
 * and what is missing must never come.
 */
#include "ledger.h"

#include <errno.h>
#include <string.h>

#include "ledger_bytes.h"

#define CONTENT_MAX (2u << 20)

static uint8_t content[CONTENT_MAX], header[WAL_HEADER_MAX];

/* ---- streams ------------------------------------------------------------------------------------------- */

static bool has_name(const struct ledger_stream *stream, const char *name)
{
	return strcmp(stream->name, name) == 0 || strcmp(stream->other, name) == 0;
}

static bool expected(const struct ledger_stream *stream)
{
	return stream->state == LEDGER_MAKING || stream->state == LEDGER_THERE || stream->state == LEDGER_GOING;
}

/* Which one it is: by its id, or by its name where its creation was under way. LEDGER_STREAMS: none. */
static uint32_t which(struct session *s, uint64_t id, const char *name)
{
	struct ledger *l = s->ledger;

	for (uint32_t i = 0; i < l->n_streams; i++)
		if (l->streams[i].id == id)
			return i;
	for (uint32_t i = 0; i < l->n_streams; i++)
		if (l->streams[i].id == 0 && l->streams[i].state == LEDGER_MAKING && has_name(&l->streams[i], name))
			return i;
	return LEDGER_STREAMS;
}

/* A name without a stream: a creation that was not finished, or of which a relaxed stream's power loss left that. */
static bool unfinished(struct session *s, const char *name)
{
	struct ledger *l = s->ledger;

	for (uint32_t i = 0; i < l->n_streams; i++)
		if (has_name(&l->streams[i], name) && (l->streams[i].left || l->streams[i].state == LEDGER_MAKING ||
						       (expected(&l->streams[i]) && !l->streams[i].sure)))
			return true;
	return false;
}

static void found_stream(struct session *s, const char *name)
{
	struct wal_stream *stream = NULL;
	struct ledger_stream *is;
	uint32_t i;
	int r = wal_stream_open(s->store, (struct wal_span){ name, strlen(name) }, &stream);

	if (r == -ENOENT) {
		if (!unfinished(s, name))
			session_wrong(s, "%s: a directory and no stream, and none was being made", name);
		return;
	}
	if (r < 0) {
		session_wrong(s, "%s: open: %s", name, wal_strerror(r));
		return;
	}
	i = which(s, wal_stream_id(stream), name);
	if (i == LEDGER_STREAMS || !expected(&s->ledger->streams[i])) {
		session_wrong(s, "%s: %s", name, i == LEDGER_STREAMS ? "nobody made it" : "it was deleted");
		wal_stream_unref(stream);
		return;
	}
	is = &s->ledger->streams[i];
	if (!has_name(is, name))
		session_wrong(s, "%s: its name is %s", name, is->name);
	if (s->handles[i])
		session_wrong(s, "%s: it is there twice", name);
	wal_stream_unref(s->handles[i]);
	s->handles[i] = stream;
	is->id = wal_stream_id(stream);
	is->state = LEDGER_THERE;
	(void)snprintf(is->name, sizeof(is->name), "%s", name);
	is->other[0] = '\0';
}

static void find_streams(struct session *s)
{
	struct wal_keys *keys;
	struct wal_span key;
	uint64_t cookie;
	int r = wal_keys_open(s->store, &keys);

	if (r < 0) {
		session_wrong(s, "list the keys: %s", wal_strerror(r));
		return;
	}
	while (wal_keys_next(keys, &key, &cookie) == 1) {
		char name[64];

		(void)snprintf(name, sizeof(name), "%.*s", (int)key.len, (const char *)key.base);
		found_stream(s, name);
	}
	wal_keys_close(keys);
	for (uint32_t i = 0; i < s->ledger->n_streams; i++) {
		struct ledger_stream *is = &s->ledger->streams[i];

		if (s->handles[i] || !expected(is))
			continue;
		if (is->state == LEDGER_THERE && is->sure)
			session_wrong(s, "%s: it is gone", is->name);
		is->left = is->state != LEDGER_GOING;
		is->state = LEDGER_GONE;
	}
}

/* ---- records ------------------------------------------------------------------------------------------- */

struct look {
	struct session *s;
	uint32_t i;
	struct wal_stat stat;
	bool seen[LEDGER_ASKS];
	int64_t last[256]; /* newest ask seen, by writer */
};

static void wrong_record(struct look *look, uint64_t seq, const char *what)
{
	session_wrong(look->s, "%s: record %llu (of %llu to %llu): %s", look->s->ledger->streams[look->i].name,
		      (unsigned long long)seq, (unsigned long long)look->stat.first,
		      (unsigned long long)look->stat.next - 1, what);
}

/* What record seq holds is what ask k was about. */
static void hold_bytes(struct look *look, uint64_t seq, uint32_t k, size_t len)
{
	const struct ledger_ask *ask = &look->s->ledger->asks[k];
	ssize_t n;

	if (len != ask->len || !ledger_is_content(content, len, k)) {
		wrong_record(look, seq, "its content is not what was written");
		return;
	}
	n = wal_read_header(look->s->handles[look->i], seq, 0, header, sizeof(header), 0);
	if (n != (ssize_t)ask->header_len || !ledger_is_header(header, ask->header_len, k))
		wrong_record(look, seq, "its header is not what was written");
}

/* The batch of ask k, which is record seq, is whole, but for what a trim took. */
static void hold_batch(struct look *look, uint64_t seq, uint32_t k)
{
	const struct ledger *l = look->s->ledger;
	uint32_t begin = k, end = k + 1;

	while (begin > 0 && l->asks[begin - 1].batch == l->asks[k].batch)
		begin--;
	while (end < l->n_asks && l->asks[end].batch == l->asks[k].batch)
		end++;
	if (seq + (end - k) > look->stat.next)
		wrong_record(look, seq, "its batch has lost its end");
	if (seq <= k - begin || (seq > look->stat.first && k > begin && !look->seen[k - 1]))
		wrong_record(look, seq, "its batch has lost its beginning");
}

static void hold_record(struct look *look, uint64_t seq)
{
	struct ledger *l = look->s->ledger;
	struct ledger_ask *ask;
	ssize_t n = wal_read(look->s->handles[look->i], seq, 0, content, sizeof(content), 0);
	int64_t k = n < 0 ? -1 : ledger_claim(content, (size_t)n);

	if (k < 0 || k >= l->n_asks || l->asks[k].stream != look->i) {
		wrong_record(look, seq, n < 0 ? wal_strerror((int)n) : "nobody asked for it");
		return;
	}
	ask = &l->asks[k];
	if (look->seen[k])
		wrong_record(look, seq, "it is there twice");
	if (k < look->last[ask->writer])
		wrong_record(look, seq, "it comes after a later one");
	if (ask->seq ? ask->seq != seq : !ask->may)
		wrong_record(look, seq, ask->seq ? "it had another number" : "it was missing before");
	hold_bytes(look, seq, (uint32_t)k, (size_t)n);
	hold_batch(look, seq, (uint32_t)k);
	look->seen[k] = true;
	look->last[ask->writer] = k;
	if (!ask->seq && ask->may)
		ask->seq = seq;
}

/* The largest number of a first record that a retention by records explains. */
static uint64_t retained_may(const struct ledger *l, uint32_t i)
{
	const struct ledger_stream *is = &l->streams[i];
	uint64_t next = 1, open = 0;

	for (uint32_t k = 0; k < l->n_asks; k++) {
		if (l->asks[k].stream != i)
			continue;
		if (l->asks[k].seq >= next)
			next = l->asks[k].seq + 1;
		open += l->asks[k].seq == 0 && l->asks[k].may;
	}
	next += open;
	return is->loose ? next : is->keep && next > is->keep ? next - is->keep : 1;
}

static void hold_trims(struct look *look, uint64_t retained)
{
	struct ledger_stream *is = &look->s->ledger->streams[look->i];

	if (look->stat.first < is->trimmed)
		wrong_record(look, look->stat.first, "it was trimmed, durably");
	if (look->stat.first > is->trimmed_may && look->stat.first > retained)
		wrong_record(look, look->stat.first - 1, "it is gone, and nobody trimmed it");
	if (!look->s->killed)
		is->trimmed = look->stat.first;
	is->trimmed_may = look->stat.first;
}

static void hold_records(struct look *look)
{
	struct ledger *l = look->s->ledger;
	struct ledger_stream *is = &l->streams[look->i];
	uint64_t retained = retained_may(l, look->i), first = look->stat.first, next = look->stat.next;

	memset(look->seen, 0, sizeof(look->seen[0]) * l->n_asks);
	memset(look->last, 0xff, sizeof(look->last));
	hold_trims(look, retained);
	if (next < is->synced)
		wrong_record(look, is->synced - 1, "it is gone, and it was acknowledged and on disk");
	for (uint64_t seq = first; seq < next && session_ok(look->s); seq++)
		hold_record(look, seq);
	for (uint32_t k = 0; k < l->n_asks && session_ok(look->s); k++) {
		struct ledger_ask *ask = &l->asks[k];

		if (ask->stream != look->i || look->seen[k])
			continue;
		if (ask->seq >= first && ask->seq < (next > is->synced ? next : is->synced))
			wrong_record(look, ask->seq, "another one has its number");
		if (ask->seq >= first)
			ask->seq = 0; /* lost, as a relaxed one may be */
		ask->may = false;
	}
	is->synced = next;
}

static void hold_settings(struct look *look)
{
	struct session *s = look->s;
	struct ledger_stream *is = &s->ledger->streams[look->i];
	struct wal_attr attr = look->stat.attr;
	struct wal_settings got;
	uint32_t v = 0;

	if (attr.uid < is->attr || attr.uid > is->attr_may || attr.gid != attr.uid || attr.mode != 0700 + attr.uid % 64)
		session_wrong(s, "%s: owner and mode are %u %u %o, and were set to %u to %u", is->name, attr.uid,
			      attr.gid, attr.mode, is->attr, is->attr_may);
	if (!s->killed)
		is->attr = attr.uid;
	is->attr_may = attr.uid;
	(void)wal_stream_get_settings(s->handles[look->i], &got); /* it cannot fail here */
	while (v < s->ledger->n_sets && memcmp(&s->ledger->sets[v], &got, sizeof(got)) != 0)
		v++;
	if (v < is->set || v > is->set_may)
		session_wrong(s, "%s: its settings are version %u, and were %u to %u", is->name, v, is->set,
			      is->set_may);
	if (!s->killed)
		is->set = v;
	is->set_may = v;
	is->durable = look->stat.durable;
}

static void hold_store(struct session *s)
{
	struct ledger *l = s->ledger;
	struct wal_settings got;
	uint32_t v = 0;

	(void)wal_store_get_settings(s->store, &got); /* it cannot fail */
	while (v < l->n_sets && memcmp(&l->sets[v], &got, sizeof(got)) != 0)
		v++;
	if (v < l->store_set || v > l->store_set_may)
		session_wrong(s, "the store's settings are version %u, and were %u to %u", v, l->store_set,
			      l->store_set_may);
	l->store_set = l->store_set_may = v;
}

void ledger_hold(struct session *s)
{
	struct look look;
	int r;

	if (!session_ok(s))
		return;
	hold_store(s);
	find_streams(s);
	for (uint32_t i = 0; i < s->ledger->n_streams && session_ok(s); i++) {
		if (!s->handles[i])
			continue;
		look.s = s;
		look.i = i;
		r = wal_stream_stat(s->handles[i], 0, &look.stat);
		if (r < 0)
			session_wrong(s, "%s: recover: %s", s->ledger->streams[i].name, wal_strerror(r));
		if (r == 0 && look.stat.damaged)
			session_wrong(s, "%s: %llu damaged records", s->ledger->streams[i].name,
				      (unsigned long long)look.stat.damaged);
		if (r == 0) /* recovered: so it is on disk, with all that is there */
			s->ledger->streams[i].sure = true;
		if (r == 0)
			hold_settings(&look);
		if (r == 0)
			hold_records(&look);
	}
}

static void tell_trouble(void *arg, const struct wal_trouble *t)
{
	session_wrong(arg, "reported: %s/%s at %llu, record %llu: %s", t->key, t->file, (unsigned long long)t->off,
		      (unsigned long long)t->seq, t->reason);
}

void ledger_hold_clean(struct session *s)
{
	struct wal_verify verify = { .found = tell_trouble, .arg = s };
	int r;

	if (!session_ok(s))
		return;
	r = wal_store_verify(s->store, &verify);
	if (r < 0 || verify.damaged || verify.torn)
		session_wrong(s, "verify: %s, %llu damaged, %llu torn", wal_strerror(r),
			      (unsigned long long)verify.damaged, (unsigned long long)verify.torn);
	if (!s->faulty)
		(void)wal_store_troubles(s->store, tell_trouble, s);
}
