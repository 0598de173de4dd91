/* SPDX-License-Identifier: MIT
 *
 * verify: reads every record of every segment through descriptors of its own, checks all sums, and changes nothing.
 * On a store in use a tail that is being written looks torn; a second look at what the head says decides.
 */
#include <errno.h>
#include <fcntl.h>

#include "banned.h"
#include "bytes.h"
#include "key.h"
#include "scan.h"
#include "stream.h"

struct look {
	struct wal_store *store;
	struct wal_verify *verify;
	const char *name; /* of the stream */
	uint64_t *firsts; /* owned; segments, sorted */
	size_t n, cap;
	struct wal_slot slot; /* of the newest segment */
	uint64_t pos;         /* where the next segment must begin, or WAL_POS_UNKNOWN */
};

static void found(struct look *look, const char *file, uint64_t off, uint64_t seq, uint64_t n, int code,
		  const char *reason)
{
	struct wal_trouble trouble = { look->name, file, off, seq, n, code, reason };

	look->verify->damaged++;
	if (look->verify->found)
		look->verify->found(look->verify->arg, &trouble);
}

static int collect(void *arg, const char *name, unsigned char type)
{
	struct look *look = arg;
	uint64_t first;

	(void)type;
	if (wal_segment_parse_name(name, &first) < 0)
		return 0;
	if (look->n == look->cap) {
		size_t cap = look->cap ? look->cap * 2 : 16;
		uint64_t *firsts = realloc(look->firsts, cap * sizeof(*firsts));

		if (!firsts)
			return -ENOMEM;
		look->firsts = firsts;
		look->cap = cap;
	}
	look->firsts[look->n++] = first;
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Walks one segment's records. `next`: the first number of the following segment, 0 for the last one. */
static int verify_records(struct look *look, struct wal_scan *scan, const char *file, uint64_t next)
{
	uint64_t mark = next ? next : look->slot.mark_next;
	struct wal_place place;
	struct wal_span header;
	int r;

	for (;;) {
		uint64_t seq = scan->seq, off = scan->off;

		r = wal_scan_next(scan, true, &place, &header);
		if (r == 1) {
			look->verify->records++;
			look->verify->bytes += place.frame.header_len + place.frame.content_len;
			look->pos += look->pos == WAL_POS_UNKNOWN ? 0 : place.frame.content_len;
			continue;
		}
		if (r < 0 && r != -EBADMSG && r != -ENODATA)
			return r;
		if (r == 2 && (seq < mark || scan->off < scan->end)) {
			found(look, file, off, seq, 1, -EBADMSG, "content: checksum mismatch");
			look->pos = WAL_POS_UNKNOWN;
			continue;
		}
		if (r == 0 && seq >= mark)
			return 0;
		if (seq >= mark) {
			look->verify->torn++;
			return 0;
		}
		r = wal_scan_resync(scan, UINT64_MAX);
		if (r < 0)
			return r;
		found(look, file, off, seq, (r ? scan->seq : mark) - seq, -EBADMSG,
		      "record: checksum mismatch, or missing");
		look->pos = WAL_POS_UNKNOWN;
		if (r == 0)
			return 0;
	}
}

static int verify_segment(struct look *look, size_t i)
{
	struct wal_store *store = look->store;
	uint64_t first = look->firsts[i], next = i + 1 < look->n ? look->firsts[i + 1] : 0;
	char path[WAL_PATH_MAX], file[WAL_SEGMENT_NAME_LEN];
	struct wal_scan scan = { .window = NULL };
	uint64_t expected = look->pos;
	struct wal_slot slot;
	struct stat st;
	int fd, r;

	look->pos = WAL_POS_UNKNOWN;
	wal_segment_name(first, WAL_SUFFIX_SEGMENT, file);
	(void)snprintf(path, sizeof(path), "%s/%s", look->name, file);
	fd = wal_io_open(store->io, store->dirfd, path, O_RDONLY, 0);
	if (fd < 0)
		return fd == -ENOENT ? 0 : fd; /* trimmed meanwhile */
	look->verify->segments++;
	r = store->io->fstat(store->io, fd, &st);
	if (r < 0)
		goto out;
	r = wal_segment_read_head(store->io, fd, &slot);
	if (r >= 0 && slot.id.first != first)
		r = -EBADMSG;
	if (!next && (r == -ENODATA || (r == -EBADMSG && i > 0 &&
					st.st_size <= WAL_HEAD_BYTES))) { /* being made, or torn in the making */
		look->verify->torn++;
		r = 0;
		goto out;
	}
	if (r == -EBADMSG || r == -ENODATA || r == -EPROTONOSUPPORT) {
		found(look, file, 0, first, next ? next - first : 0, r == -ENODATA ? -EBADMSG : r,
		      "head of the segment");
		r = 0;
		goto out;
	}
	if (r < 0)
		goto out;
	if (expected != WAL_POS_UNKNOWN && slot.id.pos != expected)
		found(look, file, 56, first, 0, -EBADMSG, "position: it is not where the segment before it ends");
	look->pos = slot.id.pos;
	r = wal_scan_init(&scan, store->io, fd, wal_record_seed(slot.id.stream_id, slot.id.salt),
			  (struct wal_point){ first, WAL_HEAD_BYTES, 0 }, (uint64_t)st.st_size);
	if (r == 0)
		r = verify_records(look, &scan, file, next);
out:
	wal_scan_fini(&scan);
	(void)store->io->close(store->io, fd); /* only read from */
	return r;
}

/* The newest readable slot says up to which number all was on disk, and where the stream begins. */
static int newest_slot(struct look *look)
{
	struct wal_stream *stream = calloc(1, sizeof(*stream));
	int r;

	if (!stream)
		return -ENOMEM;
	stream->store = look->store;
	(void)snprintf(stream->name, sizeof(stream->name), "%s", look->name);
	r = wal_stream_load_state(stream);
	look->slot = stream->slot;
	free(stream);
	return r;
}

struct seen { /* a stream that was looked at */
	UT_hash_handle hh;
	uint64_t id;
};

/* An id is given once: the second stream with it has files that were copied from the other. */
static int see_id(struct look *look, struct seen **seen)
{
	uint64_t id = look->slot.id.stream_id;
	struct seen *item;

	if (id == 0)
		return 0;
	HASH_FIND(hh, *seen, &id, sizeof(id), item);
	if (item) {
		found(look, "", 0, 0, 0, -EBADMSG, "its segments belong to another stream");
		return 0;
	}
	item = calloc(1, sizeof(*item));
	if (!item)
		return -ENOMEM;
	item->id = id;
	HASH_ADD(hh, *seen, id, sizeof(id), item);
	return 0;
}

static int verify_name(struct wal_store *store, const char *name, struct wal_verify *verify, struct seen **seen)
{
	struct look look = { .store = store, .verify = verify, .name = name, .pos = WAL_POS_UNKNOWN };
	int r;

	r = newest_slot(&look);
	if (r == -ENODATA || r == -ENOENT) /* an unfinished creation; deleted meanwhile */
		return 0;
	verify->streams++;
	if (r == -EBADMSG || r == -EPROTONOSUPPORT) {
		found(&look, "", 0, 0, 0, r, "no readable state");
		look.slot = (struct wal_slot){ .mark_next = 0, .first_seq = 1 };
		r = 0;
	}
	if (r >= 0)
		r = wal_io_list(store->io, store->dirfd, name, collect, &look);
	if (r == 0)
		qsort(look.firsts, look.n, sizeof(uint64_t), compare);
	if (r == 0 && look.n > 0 && look.firsts[0] > look.slot.first_seq)
		found(&look, "", 0, look.slot.first_seq, look.firsts[0] - look.slot.first_seq, -EBADMSG,
		      "records missing: their segment file is gone");
	if (r == 0 && seen)
		r = see_id(&look, seen);
	for (size_t i = 0; i < look.n && r == 0; i++) {
		if (i + 1 < look.n && look.firsts[i + 1] <= look.slot.first_seq)
			continue; /* trimmed, and not unlinked yet */
		r = verify_segment(&look, i);
	}
	free(look.firsts);
	return r == -ENOENT ? 0 : r;
}

static void verify_begin(struct wal_verify *verify)
{
	verify->streams = verify->segments = verify->records = verify->bytes = verify->damaged = verify->torn = 0;
}

int wal_stream_verify(struct wal_stream *stream, struct wal_verify *verify)
{
	char name[WAL_NAME_MAX + 1];

	verify_begin(verify);
	pthread_mutex_lock(&stream->lock);
	memcpy(name, stream->name, sizeof(name));
	pthread_mutex_unlock(&stream->lock);
	return verify_name(stream->store, name, verify, NULL);
}

int wal_store_verify(struct wal_store *store, struct wal_verify *verify)
{
	struct seen *seen = NULL, *item, *tmp;
	struct wal_keys *keys;
	struct wal_span key;
	uint64_t cookie;
	int r;

	verify_begin(verify);
	r = wal_keys_open(store, &keys);
	if (r < 0)
		return r;
	while ((r = wal_keys_next(keys, &key, &cookie)) == 1) {
		char name[WAL_NAME_MAX + 1];

		(void)wal_key_to_name(key, name); /* it came from a name */
		r = verify_name(store, name, verify, &seen);
		if (r < 0)
			break;
	}
	wal_keys_close(keys);
	HASH_ITER(hh, seen, item, tmp) {
		HASH_DEL(seen, item);
		free(item);
	}
	return r;
}
