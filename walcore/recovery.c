/* SPDX-License-Identifier: MIT
 *
 * recovery: a stream at its first use. Two facts decide at each place: is what is there valid and in order, and
 * is its number below the mark, that is: was it on disk for certain?
 *
 *   there               below the mark        at or above the mark
 *   valid, in order     keep                  keep
 *   anything else       damaged: kept,        torn: cut here, with all that
 *                       reported, passed      comes behind, and a batch begun
 *   the end             damaged: missing      the end
 *
 * What the journal knew above its checkpoint was put in place when the store was opened, so above the mark
 * there are only unsynced records of a relaxed stream, and appends that nobody was told about.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "banned.h"
#include "bytes.h"
#include "scan.h"
#include "stream.h"

struct firsts {
	uint64_t *first;
	size_t n, cap;
};

static int collect(void *arg, const char *name, unsigned char type)
{
	struct firsts *firsts = arg;
	uint64_t first;

	(void)type;
	if (wal_segment_parse_name(name, &first) < 0)
		return 0; /* an index, or somebody's file: not ours to judge */
	if (firsts->n == firsts->cap) {
		size_t cap = firsts->cap ? firsts->cap * 2 : 16;
		uint64_t *p = realloc(firsts->first, cap * sizeof(*p));

		if (!p)
			return -ENOMEM;
		firsts->first = p;
		firsts->cap = cap;
	}
	firsts->first[firsts->n++] = first;
	return 0;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Makes segs of what files there are. */
static int list_segments(struct wal_stream *stream, struct wal_live *live)
{
	struct firsts firsts = { NULL, 0, 0 };
	int r;

	r = wal_io_list(stream->store->io, stream->store->dirfd, stream->name, collect, &firsts);
	if (r == 0)
		qsort(firsts.first, firsts.n, sizeof(uint64_t), compare);
	for (size_t i = 0; r == 0 && i < firsts.n; i++) {
		struct wal_segment *seg = wal_segment_new(firsts.first[i]);

		r = seg ? wal_live_add(live, seg) : -ENOMEM;
		if (r < 0)
			wal_store_put_segment(stream->store, seg);
	}
	free(firsts.first);
	return r < 0 ? r : live->n > 0 ? 0 : -EBADMSG;
}

static void note(struct wal_stream *stream, const struct wal_segment *seg, uint64_t off, uint64_t seq, uint64_t n,
		 int code, const char *reason)
{
	char file[WAL_SEGMENT_NAME_LEN];

	wal_segment_name(seg->id.first, WAL_SUFFIX_SEGMENT, file);
	wal_store_note(stream->store, stream->name, file, off, seq, n, code, reason);
}

/* Nothing of it may be changed: what is torn here may be whole in the entries that were set aside. */
static bool untouched(const struct wal_stream *stream)
{
	return stream->store->rdonly || stream->unsynced;
}

static int remove_last(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;
	struct wal_segment *seg = wal_stream_last(stream);
	char path[WAL_PATH_MAX];
	int r = 0;

	wal_stream_path(stream, seg->id.first, WAL_SUFFIX_SEGMENT, path, sizeof(path));
	if (!untouched(stream)) {
		r = store->io->unlinkat(store->io, store->dirfd, path, false);
		if (r == 0) /* it must not come back once its numbers are in another segment */
			r = wal_io_sync_dir(store->io, store->dirfd, stream->name);
		wal_store_trace(store, "stream %s: segment %llu was never synced and is torn: removed", stream->name,
				(unsigned long long)seg->id.first);
	}
	stream->live->n--;
	wal_store_put_segment(store, seg);
	return r == -ENOENT ? 0 : r;
}

/* Nothing of its records can be read without a head. Those of the segments before it can; the stream takes no more. */
static void pass_headless(struct wal_stream *stream)
{
	stream->unsynced = true; /* its state is an older one: it must not be written */
	wal_stream_stop_locked(stream, -EBADMSG,
			       "the head of its newest segment is damaged: its records cannot be read");
	stream->live->n--;
	wal_store_put_segment(stream->store, stream->live->segs[stream->live->n]);
}

/* Finds the newest segment whose head is there, and takes its slot. A newer one without a head was being made, or is damaged. */
static int load_slot(struct wal_stream *stream)
{
	struct wal_live *live = stream->live;
	struct wal_slot slot = { .gen = 0 };
	struct stat st;
	uint64_t size;
	int r;

	for (;;) {
		struct wal_segment *last = wal_stream_last(stream);

		r = wal_stream_pin_locked(stream, last);
		if (r < 0)
			return r;
		r = stream->store->io->fstat(stream->store->io, last->fd, &st);
		size = r < 0 ? 0 : (uint64_t)st.st_size;
		if (r == 0)
			r = wal_segment_read_head(stream->store->io, last->fd, &slot);
		wal_stream_unpin(last);
		if (r >= 0 && (slot.id.first != last->id.first || slot.id.stream_id != stream->id))
			r = -EBADMSG;
		if (r >= 0)
			break;
		if ((r != -ENODATA && r != -EBADMSG) || live->n == 1)
			return r == -ENODATA ? -EBADMSG : r;
		/* Garbage is a torn creation only where nothing was written behind it; else it is damage, and stays. So is
		 * what is missing where a segment before it knows that it was on disk. */
		if (stream->slot.id.first >= last->id.first || (r == -EBADMSG && size > WAL_HEAD_BYTES) ||
		    stream->slot.mark_next > last->id.first) {
			pass_headless(stream);
			continue;
		}
		r = remove_last(stream);
		if (r < 0)
			return r;
	}
	stream->slot = slot;
	return 0;
}

/* The walk over one segment, with what is to be remembered of it. */
struct walk {
	struct wal_stream *stream;
	struct wal_segment *seg;
	struct wal_scan scan;
	uint64_t mark;          /* numbers below it were on disk */
	uint64_t pos;           /* content bytes so far */
	bool gaps;              /* some of them are a guess */
	struct wal_point batch; /* where the batch began that is not complete; seq 0: none */
	int64_t last_time;
};

/* Something invalid below the mark: passes it, counts it. */
static int pass_damage(struct walk *walk, bool last)
{
	struct wal_stream *stream = walk->stream;
	uint64_t seq = walk->scan.seq, off = walk->scan.off, n, len;
	int r;

	r = wal_scan_resync(&walk->scan, UINT64_MAX);
	if (r < 0)
		return r;
	if (r == 0 || walk->scan.seq > walk->mark) {
		bool here = last && stream->slot.id.first == walk->seg->id.first && stream->slot.mark_off > off;

		walk->scan.seq = walk->mark;
		walk->scan.off = here ? stream->slot.mark_off : walk->scan.end;
		if (walk->scan.end < walk->scan.off) /* cut short: what comes next goes behind what was there */
			walk->scan.end = walk->scan.off;
	}
	n = walk->scan.seq - seq;
	r = wal_scan_gap(&walk->scan, (struct wal_point){ seq, off, 0 },
			 (struct wal_point){ walk->scan.seq, walk->scan.off, 0 }, &len);
	if (r < 0)
		return r;
	walk->pos += len;
	walk->gaps = true;
	stream->live->damaged += n;
	walk->batch.seq = 0;
	note(stream, walk->seg, off, seq, n, -EBADMSG, "damaged record: checksum mismatch or missing");
	return 0;
}

static int walk_records(struct walk *walk, bool last)
{
	struct wal_place place;
	struct wal_span header;
	int r;

	for (;;) {
		bool checked = walk->scan.seq >= walk->mark;

		r = wal_scan_next(&walk->scan, checked, &place, &header);
		if (r == 2) { /* only where content is checked: above the mark, so torn */
			walk->scan.off = place.off;
			walk->scan.seq = place.frame.seq;
			return 0;
		}
		if (r == 1) {
			struct wal_point point = { place.frame.seq, place.off, walk->pos };

			r = wal_index_note(&walk->seg->index, point);
			if (r < 0)
				return r;
			walk->pos += place.frame.content_len;
			walk->last_time = place.frame.time_ns;
			if (place.frame.more && walk->batch.seq == 0)
				walk->batch = point;
			else if (!place.frame.more)
				walk->batch.seq = 0;
			continue;
		}
		if (r < 0 && r != -EBADMSG && r != -ENODATA)
			return r;
		if (walk->scan.seq >= walk->mark)
			return 0;
		r = pass_damage(walk, last);
		if (r < 0)
			return r;
	}
}

/* Cuts a torn tail off the file, durably, before anything is appended behind it. */
static int cut(struct wal_stream *stream, struct wal_segment *seg, uint64_t file_size)
{
	struct wal_store *store = stream->store;
	int r;

	if (file_size <= seg->size || untouched(stream))
		return 0;
	wal_store_trace(store, "stream %s: torn tail cut: segment %llu from byte %llu on", stream->name,
			(unsigned long long)seg->id.first, (unsigned long long)seg->size);
	r = store->io->ftruncate(store->io, seg->fd, seg->size);
	if (r == 0)
		r = store->io->fdatasync(store->io, seg->fd);
	return r;
}

/* The state was moved to a segment before the newest one by a recovery that was interrupted: it counts. */
static void take_newer(struct wal_slot *state, const struct wal_slot *there)
{
	if (there->gen <= state->gen)
		return;
	state->gen = there->gen;
	state->first_seq = there->first_seq;
	state->attr = there->attr;
	state->settings = there->settings;
}

/* Walks segment i. 1: it ends before the next one begins, so that what follows was never acknowledged; 2: it was being made itself. */
static int recover_segment(struct wal_stream *stream, size_t i)
{
	struct wal_live *live = stream->live;
	struct wal_segment *seg = live->segs[i];
	struct wal_store *store = stream->store;
	bool last = i + 1 == live->n;
	struct walk walk = { .stream = stream, .seg = seg, .mark = stream->slot.mark_next };
	struct wal_slot slot;
	struct stat st;
	int r;

	r = wal_stream_pin_locked(stream, seg);
	if (r < 0)
		return r;
	r = wal_segment_read_head(store->io, seg->fd, &slot);
	if (r == -ENODATA && i > 0 && stream->slot.mark_next <= seg->id.first) {
		wal_stream_unpin(seg);
		return 2;
	}
	if (r >= 0)
		r = store->io->fstat(store->io, seg->fd, &st);
	if (r < 0)
		goto out;
	take_newer(&stream->slot, &slot);
	seg->id = slot.id;
	seg->seed = wal_record_seed(stream->id, slot.id.salt);
	walk.last_time = slot.id.time_base;
	if (!last)
		walk.mark = wal_min_u64(walk.mark, live->segs[i + 1]->id.first);
	r = wal_scan_init(&walk.scan, store->io, seg->fd, seg->seed,
			  (struct wal_point){ seg->id.first, WAL_HEAD_BYTES, 0 }, (uint64_t)st.st_size);
	if (r == 0)
		r = walk_records(&walk, last);
	if (r < 0)
		goto out;
	if (walk.batch.seq >= wal_max_u64(walk.mark, 1)) {
		walk.scan.seq = walk.batch.seq;
		walk.scan.off = walk.batch.off;
		walk.pos = walk.batch.pos;
	}
	seg->size = wal_max_u64(walk.scan.off, WAL_HEAD_BYTES);
	while (seg->index.n > 0 && seg->index.points[seg->index.n - 1].off >= seg->size)
		seg->index.n--;
	seg->loaded = seg->indexed = true;
	seg->pos = slot.id.pos;
	seg->content = walk.pos;
	live->next = walk.scan.seq;
	live->last_time = walk.last_time;
	if (!last && live->next >= live->segs[i + 1]->id.first) {
		if (walk.gaps) { /* its index file, or the next one's position, knows better */
			wal_index_fini(&seg->index);
			seg->indexed = false;
		}
		goto out;
	}
	r = cut(stream, seg, (uint64_t)st.st_size);
	if (r == 0 && !last)
		r = 1;
out:
	wal_scan_fini(&walk.scan);
	wal_stream_unpin(seg);
	return r;
}

/* Segments that a trim left behind go: what is wrong in them, or missing between them, matters no more. */
static int drop_trimmed(struct wal_stream *stream)
{
	struct wal_live *live = stream->live;
	struct wal_store *store = stream->store;
	size_t gone = 0;
	int r;

	while (gone + 1 < live->n && live->segs[gone + 1]->id.first <= stream->slot.first_seq)
		gone++;
	for (size_t i = 0; i < gone && !untouched(stream); i++) {
		r = wal_stream_remove_segment_locked(stream, live->segs[i]);
		if (r < 0)
			return r;
		wal_segment_ref(live->segs[i]);
	}
	for (size_t i = 0; i < gone; i++)
		wal_store_put_segment(store, live->segs[i]);
	memmove(live->segs, live->segs + gone, (live->n - gone) * sizeof(*live->segs));
	live->n -= gone;
	if (gone > 0 && !untouched(stream)) {
		/* The slot that says so was read, which need not be from the disk: it is synced before they go. */
		wal_stream_last(stream)->dirty = true;
		wal_stream_mark_dirty_locked(stream, true);
	}
	return 0;
}

/* The state goes to the segment that will be the last one, and to the disk, before those behind it are removed. */
static int move_state(struct wal_stream *stream, struct wal_segment *seg)
{
	struct wal_store *store = stream->store;
	int r;

	stream->slot.id = seg->id;
	stream->slot.mark_next = wal_min_u64(stream->slot.mark_next, stream->live->next);
	stream->slot.mark_off = seg->size;
	if (untouched(stream))
		return 0;
	r = wal_stream_pin_locked(stream, seg);
	if (r < 0)
		return r;
	stream->slot.gen++;
	r = wal_segment_write_slot(store->io, seg->fd, &stream->slot);
	if (r == 0)
		r = store->io->fdatasync(store->io, seg->fd);
	wal_stream_unpin(seg);
	return r;
}

static int recover_tail(struct wal_stream *stream)
{
	struct wal_live *live = stream->live;
	size_t i = live->n - 1;
	int r = 0;

	while (i > 0 && live->segs[i]->id.first > stream->slot.mark_next)
		i--;
	r = recover_segment(stream, i);
	if (r == 2) { /* the one before it is the last one, then */
		assert(i > 0);
		r = recover_segment(stream, --i);
	}
	for (i++; i < live->n && r == 0; i++)
		r = recover_segment(stream, i);
	if (r <= 0)
		return r;
	i -= r == 2;
	r = move_state(stream, live->segs[i - 1]);
	while (live->n > i && r == 0) /* a suffix is lost, never a hole left */
		r = remove_last(stream);
	return r;
}

/* Positions of the end. A stream that was begun before there were any has an arbitrary one; it lasts, because the next
 * segment's is counted from it. */
static void find_positions(struct wal_stream *stream)
{
	struct wal_segment *last = wal_stream_last(stream);

	if (last->pos == WAL_POS_UNKNOWN)
		last->pos = WAL_POS_ORIGIN;
	last->pos = wal_min_u64(last->pos, WAL_POS_MAX);
	last->content = wal_min_u64(last->content, WAL_POS_MAX - last->pos);
	stream->live->pos_next = stream->live->pos_visible = last->pos + last->content;
}

/* The last segment may have been sealed, before a power loss took the next one. What its index file says of its end is then
 * wrong, and could fit again by chance once it is sealed the second time. */
static void drop_index(struct wal_stream *stream)
{
	char path[WAL_PATH_MAX];

	if (stream->store->rdonly)
		return;
	wal_stream_path(stream, wal_stream_last(stream)->id.first, WAL_SUFFIX_INDEX, path, sizeof(path));
	(void)stream->store->io->unlinkat(stream->store->io, stream->store->dirfd, path, false); /* none, as a rule */
}

/* All of them but the one that has the name of what is the last one now. */
static int remove_all(struct wal_stream *stream, struct wal_segment **segs, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n; i++) {
		char path[WAL_PATH_MAX];

		wal_stream_path(stream, segs[i]->id.first, WAL_SUFFIX_SEGMENT, path, sizeof(path));
		if (r == 0 && segs[i]->id.first != wal_stream_last(stream)->id.first)
			r = stream->store->io->unlinkat(stream->store->io, stream->store->dirfd, path, false);
		r = r == -ENOENT ? 0 : r;
		wal_store_put_segment(stream->store, segs[i]);
	}
	free(segs);
	return r == 0 ? wal_io_sync_dir(stream->store->io, stream->store->dirfd, stream->name) : r;
}

/* The oldest segment was never known to be on disk, and a power loss took it: what comes after it is a suffix that is lost with it. The
 * state stays, in an empty segment in its place, which is on disk before the others go. */
static int begin_anew(struct wal_stream *stream)
{
	struct wal_live *live = stream->live;
	struct wal_store *store = stream->store;
	struct wal_segment **old = live->segs, *seg;
	struct wal_slot slot = stream->slot;
	size_t n = live->n;
	char path[WAL_PATH_MAX];
	int r;

	wal_store_trace(store, "stream %s: its oldest segment was never synced and is lost, with all that came later",
			stream->name);
	live->segs = NULL;
	live->n = live->cap = 0;
	live->next = slot.first_seq;
	live->pos_next = slot.first_seq == 1 ? 0 : slot.id.pos;
	live->last_time = slot.id.time_base;
	stream->slot.mark_next = slot.first_seq;
	wal_stream_path(stream, slot.first_seq, WAL_SUFFIX_SEGMENT, path, sizeof(path));
	(void)store->io->unlinkat(store->io, store->dirfd, path, false); /* torn, where it is there */
	r = wal_stream_rotate_locked(stream, NULL);
	seg = r == 0 ? wal_stream_last(stream) : NULL;
	if (r == 0)
		r = store->io->fdatasync(store->io, seg->fd);
	if (r == 0)
		r = wal_io_sync_dir(store->io, store->dirfd, stream->name);
	if (r == 0)
		return remove_all(stream, old, n);
	for (size_t i = 0; i < n; i++)
		wal_store_put_segment(store, old[i]);
	free(old);
	return r;
}

/* Is the segment that has the oldest record not there, and was never known to be on disk? */
static bool begin_is_lost(struct wal_stream *stream)
{
	const struct wal_io *io = stream->store->io;
	struct wal_segment *seg = stream->live->segs[0];
	struct wal_slot slot;
	int r;

	if (stream->slot.mark_next > stream->slot.first_seq ||
	    stream->live->n + (seg->id.first > stream->slot.first_seq) < 2 || untouched(stream))
		return false;
	if (seg->id.first > stream->slot.first_seq)
		return true;
	r = wal_stream_pin_locked(stream, seg);
	if (r < 0)
		return false;
	r = wal_segment_read_head(io, seg->fd, &slot);
	wal_stream_unpin(seg);
	return r == -ENODATA && stream->live->segs[1]->id.first > stream->slot.first_seq;
}

/* Counts the bytes of all segments but the last. */
static void count_bytes(struct wal_stream *stream)
{
	struct wal_live *live = stream->live;
	struct wal_store *store = stream->store;
	int r;

	if (stream->slot.first_seq < live->segs[0]->id.first)
		note(stream, live->segs[0], 0, stream->slot.first_seq, live->segs[0]->id.first - stream->slot.first_seq,
		     -EBADMSG, "records missing: their segment file is gone");
	for (size_t i = 0; i + 1 < live->n; i++) {
		char path[WAL_PATH_MAX];
		struct stat st;

		wal_stream_path(stream, live->segs[i]->id.first, WAL_SUFFIX_SEGMENT, path, sizeof(path));
		r = store->io->fstatat(store->io, store->dirfd, path, &st);
		if (r < 0 || st.st_size <= WAL_HEAD_BYTES)
			continue;
		live->bytes += (uint64_t)st.st_size - WAL_HEAD_BYTES;
		if (!live->segs[i]->loaded)
			live->segs[i]->size = (uint64_t)st.st_size; /* so that a trim knows what goes */
	}
}

int wal_stream_recover_locked(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;
	uint64_t since = wal_latency_now();
	int r;

	assert(!stream->live);
	stream->live = calloc(1, sizeof(*stream->live));
	if (!stream->live)
		return -ENOMEM;
	r = list_segments(stream, stream->live);
	if (r == 0)
		r = load_slot(stream);
	if (r == 0)
		r = drop_trimmed(stream);
	if (r == 0)
		r = begin_is_lost(stream) ? begin_anew(stream) : recover_tail(stream);
	if (r == 0)
		r = wal_stream_sync_found_locked(stream);
	if (r == 0) {
		find_positions(stream);
		drop_index(stream);
	}
	if (r == 0)
		count_bytes(stream);
	if (r == 0 && stream->slot.first_seq > stream->live->next) {
		/* The trim survived a power loss and the records did not: their numbers stay used all the same. */
		stream->live->next = stream->slot.first_seq;
		r = untouched(stream) ? 0 : wal_stream_rotate_locked(stream, NULL);
	}
	if (r < 0) {
		struct wal_live *live = stream->live;

		stream->live = NULL;
		wal_live_free(live, store);
		return r;
	}
	stream->live->visible = stream->live->next;
	wal_stream_apply_settings_locked(stream);
	wal_latency_add(&store->recovery_latency, since);
	return 0;
}
