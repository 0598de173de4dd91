/* SPDX-License-Identifier: MIT
 *
 * The happy path of a durable append: the stream writes the record to its segment (page cache) and puts an entry here;
 * its caller waits, or the committer does. The first to find nobody leading leads: it takes the gathered
 * group, writes it to the ring with one or two writes, syncs once, completes all requests of the group in
 * order, and then lets the next one lead. Meanwhile others gather the next group.
 *
 * Failure: a write or a sync that fails stops the journal for good (-EROFS); the group's requests get -EIO.
 * It is not tried again: after a failed fdatasync the kernel may have dropped the pages.
 */
#include "journal.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "banned.h"
#include "bytes.h"
#include "bounds.h"

static_assert(WAL_JOURNAL_BYTES_MIN / WAL_JOURNAL_ENTRY_SHARE > 4 * (WAL_ENTRY_BYTES + WAL_SECTOR + WAL_NAME_MAX),
	      "the smallest journal takes any entry without records");

int wal_journal_init(struct wal_journal *journal, const struct wal_io *io, int fd, uint64_t size, uint64_t position)
{
	journal->io = io;
	journal->fd = fd;
	journal->size = size;
	journal->cap = (size_t)(size / WAL_JOURNAL_BUFFER_SHARE);
	journal->head = journal->durable = journal->tail = position;
	journal->gen = 1;
	pthread_mutex_init(&journal->lock, NULL);
	pthread_cond_init(&journal->cond, NULL);
	pthread_cond_init(&journal->work, NULL);
	for (int i = 0; i < 2; i++) {
		journal->group[i].mem = malloc(journal->cap); /* untouched pages cost nothing */
		journal->group[i].reqs_end = &journal->group[i].reqs;
		if (!journal->group[i].mem)
			return -ENOMEM;
	}
	return 0;
}

void wal_journal_fini(struct wal_journal *journal)
{
	if (!journal->io)
		return;
	pthread_mutex_lock(&journal->lock);
	journal->stop = true;
	pthread_cond_broadcast(&journal->work);
	pthread_mutex_unlock(&journal->lock);
	if (journal->committer_runs)
		pthread_join(journal->committer, NULL);
	for (int i = 0; i < 2; i++)
		free(journal->group[i].mem);
	if (journal->fd >= 0)
		(void)journal->io->close(journal->io, journal->fd); /* synced whenever it mattered */
	pthread_cond_destroy(&journal->work);
	pthread_cond_destroy(&journal->cond);
	pthread_mutex_destroy(&journal->lock);
	journal->io = NULL;
}

uint64_t wal_journal_payload_max(const struct wal_journal *journal)
{
	return journal->size / WAL_JOURNAL_ENTRY_SHARE - WAL_ENTRY_BYTES - WAL_ENTRY_ALIGN;
}

int wal_journal_reserve(struct wal_journal *journal, uint64_t bytes, bool nowait)
{
	bool asked = false, waited = false;
	int r = 0;

	assert(bytes <= journal->cap);
	pthread_mutex_lock(&journal->lock);
	for (;;) {
		uint64_t used = journal->head - journal->tail + journal->reserved + bytes;
		bool ring = used <= journal->size;
		bool memory = journal->group[journal->gathering].len + journal->reserved + bytes <= journal->cap;

		if (journal->failed) {
			r = -EROFS;
			break;
		}
		if (used > journal->size / WAL_JOURNAL_CHECKPOINT_SHARE && !asked) {
			asked = true;
			pthread_mutex_unlock(&journal->lock);
			journal->need_space(journal->arg);
			pthread_mutex_lock(&journal->lock);
			continue;
		}
		if (ring && memory) {
			journal->reserved += bytes;
			break;
		}
		if (nowait) {
			r = -EAGAIN;
			break;
		}
		journal->full += !waited;
		waited = true;
		/* The gathered group must go: lead it ourselves. Where others only reserved, they are waited for. */
		if (!memory && !journal->leading && journal->group[journal->gathering].len > 0) {
			uint64_t head = journal->head;

			pthread_mutex_unlock(&journal->lock);
			(void)wal_journal_wait(journal, head); /* a failure shows in journal->failed */
			pthread_mutex_lock(&journal->lock);
			continue;
		}
		pthread_cond_wait(&journal->cond, &journal->lock);
	}
	pthread_mutex_unlock(&journal->lock);
	return r;
}

void wal_journal_unreserve(struct wal_journal *journal, uint64_t bytes)
{
	if (bytes == 0)
		return;
	pthread_mutex_lock(&journal->lock);
	assert(journal->reserved >= bytes);
	journal->reserved -= bytes;
	pthread_cond_broadcast(&journal->cond);
	pthread_mutex_unlock(&journal->lock);
}

/* Copies an entry to the end of the gathered group. */
static void gather_locked(struct wal_journal *journal, struct wal_journal_entry *entry, const struct wal_span *payload,
			  size_t n_payload, uint64_t *reserved)
{
	struct wal_group *group = &journal->group[journal->gathering];
	uint8_t *at = group->mem + group->len, *p = at + WAL_ENTRY_BYTES;
	uint64_t payload_len = 0;

	for (size_t i = 0; i < n_payload; i++) {
		if (payload[i].len > 0)
			memcpy(p, payload[i].base, payload[i].len);
		p += payload[i].len;
		payload_len += payload[i].len;
	}
	entry->payload_len = (uint32_t)payload_len;
	entry->len = (uint32_t)wal_entry_len(payload_len);
	entry->lsn = journal->head;
	assert(entry->len <= *reserved);
	assert(group->len + entry->len <= journal->cap);
	wal_entry_seal(at, entry, journal->seed);
	group->len += entry->len;
	journal->head += entry->len;
	journal->reserved -= entry->len;
	*reserved -= entry->len;
}

uint64_t wal_journal_put(struct wal_journal *journal, struct wal_journal_entry *entry, const struct wal_span *payload,
			 size_t n_payload, uint64_t *bound, const char *name, struct wal_append *req,
			 uint64_t *reserved)
{
	struct wal_group *group;
	uint64_t lsn;

	pthread_mutex_lock(&journal->lock);
	if (*bound != journal->gen) {
		struct wal_journal_entry bind = { .type = WAL_ENTRY_BIND, .stream_id = entry->stream_id };
		struct wal_span span = { name, strlen(name) };

		gather_locked(journal, &bind, &span, 1, reserved);
		*bound = journal->gen;
	}
	gather_locked(journal, entry, payload, n_payload, reserved);
	group = &journal->group[journal->gathering];
	if (req) {
		req->next = NULL;
		*group->reqs_end = req;
		group->reqs_end = &req->next;
	}
	lsn = journal->head;
	pthread_mutex_unlock(&journal->lock);
	return lsn;
}

static void complete_all(struct wal_journal *journal, struct wal_append *req, int result)
{
	while (req) {
		struct wal_append *next = req->next; /* the request is its caller's again once completed */

		journal->complete(req, result);
		req = next;
	}
}

/* The requests that are gathered; after a failure nobody else completes them. */
static struct wal_append *take_requests_locked(struct wal_journal *journal)
{
	struct wal_group *group = &journal->group[journal->gathering];
	struct wal_append *reqs = group->reqs;

	group->reqs = NULL;
	group->reqs_end = &group->reqs;
	return reqs;
}

static int write_group(struct wal_journal *journal, const struct wal_group *group, uint64_t lsn)
{
	uint64_t at = lsn % journal->size;
	size_t first = (size_t)wal_min_u64(group->len, journal->size - at);
	uint64_t since;
	int r;

	r = wal_io_write(journal->io, journal->fd, group->mem, first, at);
	if (r == 0 && first < group->len)
		r = wal_io_write(journal->io, journal->fd, group->mem + first, group->len - first, 0);
	if (r < 0)
		return r;
	since = wal_latency_now();
	r = journal->io->fdatasync(journal->io, journal->fd);
	wal_latency_add(&journal->latency, since);
	return r;
}

/* One group: called and returns with the lock held, gives it up in between. */
static void lead_locked(struct wal_journal *journal)
{
	struct wal_group *group = &journal->group[journal->gathering];
	uint64_t lsn = journal->durable, end = journal->head;
	struct wal_append *reqs = group->reqs;
	int r;

	assert(!journal->leading);
	assert(end - lsn == group->len);
	journal->leading = true;
	journal->submitted = false;
	journal->commits++; /* before anybody is told of it */
	journal->gathering ^= 1;
	assert(journal->group[journal->gathering].len == 0);
	pthread_cond_broadcast(&journal->cond); /* there is memory again */
	pthread_mutex_unlock(&journal->lock);
	r = group->len > 0 ? write_group(journal, group, lsn) : 0;
	complete_all(journal, reqs, r < 0 ? -EIO : 0);
	pthread_mutex_lock(&journal->lock);
	group->len = 0;
	group->reqs = NULL;
	group->reqs_end = &group->reqs;
	journal->leading = false;
	if (r == 0) {
		journal->durable = end;
	} else {
		journal->failed = r;
		reqs = take_requests_locked(journal);
		pthread_mutex_unlock(&journal->lock);
		complete_all(journal, reqs, -EIO);
		pthread_mutex_lock(&journal->lock);
	}
	pthread_cond_broadcast(&journal->cond);
}

int wal_journal_wait(struct wal_journal *journal, uint64_t lsn)
{
	struct wal_append *orphans = NULL;
	bool failed_before;
	int r;

	pthread_mutex_lock(&journal->lock);
	failed_before = journal->failed;
	while (journal->durable < lsn && !journal->failed) {
		if (journal->leading)
			pthread_cond_wait(&journal->cond, &journal->lock);
		else
			lead_locked(journal);
	}
	r = journal->durable >= lsn ? 0 : failed_before ? -EROFS : -EIO;
	if (journal->failed)
		orphans = take_requests_locked(journal);
	pthread_mutex_unlock(&journal->lock);
	complete_all(journal, orphans, -EIO);
	return r;
}

static void *committer_main(void *arg)
{
	struct wal_journal *journal = arg;

	pthread_mutex_lock(&journal->lock);
	while (!journal->stop) {
		if (!journal->submitted || journal->failed)
			pthread_cond_wait(&journal->work, &journal->lock);
		else if (journal->leading)
			pthread_cond_wait(&journal->cond, &journal->lock);
		else
			lead_locked(journal);
	}
	pthread_mutex_unlock(&journal->lock);
	return NULL;
}

int wal_journal_kick(struct wal_journal *journal)
{
	struct wal_append *orphans = NULL;
	int r = 0;

	pthread_mutex_lock(&journal->lock);
	if (!journal->committer_runs) {
		r = -pthread_create(&journal->committer, NULL, committer_main, journal);
		journal->committer_runs = r == 0;
	}
	if (journal->failed) /* put after the failure was dealt with */
		orphans = take_requests_locked(journal);
	journal->submitted = true;
	pthread_cond_signal(&journal->work);
	pthread_mutex_unlock(&journal->lock);
	complete_all(journal, orphans, -EIO);
	return r;
}

uint64_t wal_journal_head(struct wal_journal *journal)
{
	uint64_t head;

	pthread_mutex_lock(&journal->lock);
	head = journal->head;
	pthread_mutex_unlock(&journal->lock);
	return head;
}

int wal_journal_failed(struct wal_journal *journal)
{
	int failed;

	pthread_mutex_lock(&journal->lock);
	failed = journal->failed;
	pthread_mutex_unlock(&journal->lock);
	return failed;
}

void wal_journal_stop(struct wal_journal *journal, int code)
{
	struct wal_append *orphans = NULL;

	pthread_mutex_lock(&journal->lock);
	while (journal->leading)
		pthread_cond_wait(&journal->cond, &journal->lock);
	if (!journal->failed) {
		journal->failed = code;
		orphans = take_requests_locked(journal);
	}
	pthread_cond_broadcast(&journal->cond);
	pthread_mutex_unlock(&journal->lock);
	complete_all(journal, orphans, -EIO);
}

uint64_t wal_journal_begin_checkpoint(struct wal_journal *journal)
{
	uint64_t lsn;

	pthread_mutex_lock(&journal->lock);
	/* Entries behind `durable` may have been bound in the old generation: take the head, and wait for it. */
	lsn = journal->head;
	journal->gen++;
	pthread_mutex_unlock(&journal->lock);
	(void)wal_journal_wait(journal, lsn); /* a failed journal stays as it is: nothing is advanced */
	return lsn;
}

void wal_journal_advance(struct wal_journal *journal, uint64_t lsn)
{
	pthread_mutex_lock(&journal->lock);
	assert(lsn >= journal->tail);
	assert(lsn <= journal->durable);
	journal->tail = lsn;
	pthread_cond_broadcast(&journal->cond);
	pthread_mutex_unlock(&journal->lock);
}

static int read_ring(const struct wal_io *io, int fd, uint64_t size, uint64_t lsn, uint8_t *buf, size_t len)
{
	uint64_t at = lsn % size;
	size_t first = (size_t)wal_min_u64(len, size - at);
	ssize_t n = wal_io_read(io, fd, buf, first, at, false);

	if (n == (ssize_t)first && first < len) {
		n = wal_io_read(io, fd, buf + first, len - first, 0, false);
		n += n < 0 ? 0 : (ssize_t)first;
	}
	if (n < 0)
		return (int)n;
	return n == (ssize_t)len ? 0 : -EBADMSG;
}

int wal_journal_scan(const struct wal_io *io, int fd, uint64_t size, uint64_t seed, uint64_t lsn, wal_journal_fn *fn,
		     void *arg, uint64_t *ret_end)
{
	uint64_t len_max = size / WAL_JOURNAL_ENTRY_SHARE, end = lsn + size;
	struct wal_journal_entry entry = { .len = 0 };
	uint8_t *buf = malloc((size_t)len_max);
	int r = buf ? 0 : -ENOMEM;

	while (r == 0) {
		if (lsn + WAL_ENTRY_BYTES > end)
			break;
		r = read_ring(io, fd, size, lsn, buf, WAL_ENTRY_BYTES);
		if (r == 0)
			r = wal_entry_peek(buf, lsn, &entry);
		if (r == 0 && (entry.len > len_max || lsn + entry.len > end))
			r = -EBADMSG;
		if (r == 0)
			r = read_ring(io, fd, size, lsn, buf, entry.len);
		if (r == 0)
			r = wal_entry_check(buf, &entry, seed);
		if (r == -EBADMSG) { /* the tail: never acknowledged */
			r = 0;
			break;
		}
		if (r == 0)
			r = fn(arg, &entry, buf + WAL_ENTRY_BYTES);
		lsn += entry.len;
	}
	free(buf);
	if (r == 0)
		*ret_end = lsn;
	return r;
}

int wal_journal_entries(struct wal_journal *journal, wal_journal_fn *fn, void *arg)
{
	uint64_t tail, durable, end = 0;
	int r;

	pthread_mutex_lock(&journal->lock);
	tail = journal->tail;
	durable = journal->durable;
	pthread_mutex_unlock(&journal->lock);
	r = wal_journal_scan(journal->io, journal->fd, journal->size, journal->seed, tail, fn, arg, &end);
	return r == 0 && end < durable ? -EBADMSG : r;
}
