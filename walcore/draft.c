/* SPDX-License-Identifier: MIT
 *
 * draft: a record whose content comes piece by piece. Its file has the form of a segment with one record; the content
 * is written and, in a durable stream, synced before the record has a number. The commit writes the frame and the head, and
 * renames the file into its stream: the draft has become the stream's newest segment.
 *
 * A crash leaves a file in the drafts directory, which the next opening removes, or a commit in the journal, which
 * it finishes.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/random.h>

#include "banned.h"
#include "bytes.h"
#include "stream.h"

struct wal_draft {
	struct wal_stream *stream; /* counted */
	uint64_t number;
	uint64_t salt, seed;
	int fd;
	uint8_t *header; /* owned */
	uint32_t header_len;
	uint64_t len;   /* of the content so far */
	uint8_t *chunk; /* owned; the chunk that is not full */
	size_t chunk_len;
	uint8_t *sums; /* owned; of the full chunks */
	size_t sums_len, sums_cap;
	uint64_t max;
};

static void draft_path(uint64_t number, char path[64])
{
	(void)snprintf(path, 64, "%s/%020" PRIu64, WAL_DIR_DRAFTS, number);
}

static uint64_t content_off(const struct wal_draft *draft)
{
	return WAL_HEAD_BYTES + WAL_FRAME_BYTES + draft->header_len;
}

static void draft_free(struct wal_draft *draft)
{
	struct wal_store *store = draft->stream->store;

	if (draft->fd >= 0)
		(void)store->io->close(store->io, draft->fd); /* aborted: its content is of no use */
	wal_stream_unref(draft->stream);
	free(draft->header);
	free(draft->chunk);
	free(draft->sums);
	free(draft);
}

int wal_draft_open(struct wal_stream *stream, struct wal_span header, struct wal_draft **ret_draft)
{
	struct wal_store *store = stream->store;
	struct wal_draft *draft;
	char path[64];
	int r;

	if (header.len > WAL_HEADER_MAX)
		return -EMSGSIZE;
	r = wal_append_check(stream);
	if (r < 0)
		return r;
	draft = calloc(1, sizeof(*draft));
	if (!draft)
		return -ENOMEM;
	draft->stream = wal_stream_ref(stream);
	draft->fd = -1;
	draft->max = wal_max_record(stream);
	draft->header = malloc(header.len + 1);
	draft->chunk = malloc(WAL_CHUNK);
	r = draft->header && draft->chunk ? 0 : -ENOMEM;
	if (r == 0 && getrandom(&draft->salt, sizeof(draft->salt), 0) != sizeof(draft->salt))
		r = -EIO;
	if (r < 0)
		goto out;
	draft->header_len = (uint32_t)header.len;
	if (header.len > 0)
		memcpy(draft->header, header.base, header.len);
	draft->seed = wal_record_seed(stream->id, draft->salt);
	pthread_mutex_lock(&store->state_lock);
	draft->number = store->draft_next++;
	pthread_mutex_unlock(&store->state_lock);
	draft_path(draft->number, path);
	r = wal_io_open(store->io, store->dirfd, path, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (r < 0)
		goto out;
	draft->fd = r;
	r = wal_io_write(store->io, draft->fd, draft->header, draft->header_len, WAL_HEAD_BYTES + WAL_FRAME_BYTES);
out:
	if (r < 0)
		wal_draft_abort(draft);
	else
		*ret_draft = draft;
	return r < 0 ? r : 0;
}

/* Writes out the chunk and takes its sum. */
static int end_chunk(struct wal_draft *draft)
{
	struct wal_store *store = draft->stream->store;
	uint64_t start = draft->len - draft->chunk_len;
	int r;

	if (draft->sums_len == draft->sums_cap) {
		size_t cap = draft->sums_cap ? draft->sums_cap * 2 : 1024;
		uint8_t *sums = realloc(draft->sums, cap);

		if (!sums)
			return -ENOMEM;
		draft->sums = sums;
		draft->sums_cap = cap;
	}
	r = wal_io_write(store->io, draft->fd, draft->chunk, draft->chunk_len, content_off(draft) + start);
	if (r < 0)
		return r;
	wal_put_le64(draft->sums + draft->sums_len,
		     wal_record_content_sum(draft->chunk, draft->chunk_len, draft->seed));
	draft->sums_len += 8;
	draft->chunk_len = 0;
	return 0;
}

/* A chunk is written when it is full, or by the commit; and the commit adds head, frame and sums. While space is low their blocks are
 * taken when the chunk begins, so that who is refused hears of it here. */
static int begin_chunk(struct wal_draft *draft)
{
	struct wal_store *store = draft->stream->store;
	uint64_t from = draft->len > 0 ? content_off(draft) + draft->len : 0;
	uint64_t end = content_off(draft) + draft->len + WAL_CHUNK + draft->sums_len + 8;
	int r = wal_space_is_low(store, end - from);

	if (r > 0)
		r = store->io->fallocate(store->io, draft->fd, from, end - from);
	return r == -EOPNOTSUPP ? 0 : r;
}

int wal_draft_write(struct wal_draft *draft, const void *buf, size_t len)
{
	const uint8_t *p = buf;
	int r;

	if (len > draft->max - wal_min_u64(draft->len, draft->max))
		return -EMSGSIZE;
	while (len > 0) {
		size_t take = (size_t)wal_min_u64(len, WAL_CHUNK - draft->chunk_len);

		r = draft->chunk_len == 0 ? begin_chunk(draft) : 0;
		if (r < 0)
			return r;
		memcpy(draft->chunk + draft->chunk_len, p, take);
		draft->chunk_len += take;
		draft->len += take;
		p += take;
		len -= take;
		r = draft->chunk_len == WAL_CHUNK ? end_chunk(draft) : 0;
		if (r < 0) {
			draft->len -= take; /* as if these bytes had not been given */
			draft->chunk_len -= take;
			return r;
		}
	}
	return 0;
}

uint64_t wal_draft_len(const struct wal_draft *draft)
{
	return draft->len;
}

void wal_draft_abort(struct wal_draft *draft)
{
	char path[64];

	if (!draft)
		return;
	draft_path(draft->number, path);
	if (draft->fd >= 0) /* what stays is removed at the next opening */
		(void)draft->stream->store->io->unlinkat(draft->stream->store->io, draft->stream->store->dirfd, path,
							 false);
	draft_free(draft);
}

/* Completes content and sums. Sets what the frame says of them. */
static int finish_content(struct wal_draft *draft, struct wal_frame *frame)
{
	struct wal_store *store = draft->stream->store;
	uint64_t table_len = wal_record_sums_len(draft->len);
	int r = 0;

	*frame = (struct wal_frame){ .content_len = draft->len, .header_len = draft->header_len };
	if (draft->chunk_len > 0 || draft->len == 0)
		r = end_chunk(draft);
	if (r < 0)
		return r;
	if (table_len == 0) {
		frame->content_sum = wal_get_le64(draft->sums);
	} else {
		assert(table_len == draft->sums_len);
		frame->content_sum = wal_record_content_sum(draft->sums, table_len, draft->seed);
		r = wal_io_write(store->io, draft->fd, draft->sums, table_len, content_off(draft) + draft->len);
	}
	return r;
}

static int sync_content(struct wal_draft *draft)
{
	struct wal_store *store = draft->stream->store;
	uint64_t since = wal_latency_now();
	int r;

	r = store->io->fdatasync(store->io, draft->fd);
	if (r == 0)
		r = wal_io_sync_dir(store->io, store->dirfd, WAL_DIR_DRAFTS);
	wal_latency_add(&store->sync_latency, since);
	if (r == 0) /* else the rename could take it into a directory that is lost */
		r = wal_store_sync_entries(store);
	return r;
}

/* Writes head and frame and renames the file. An empty last segment has the same name, and is replaced; the stream's state was
 * in it alone, so the new file must be on disk before. */
static int install_locked(struct wal_stream *stream, struct wal_draft *draft, const struct wal_slot *slot,
			  const uint8_t frame[WAL_FRAME_BYTES], bool replace)
{
	struct wal_store *store = stream->store;
	char from[64], to[WAL_PATH_MAX];
	int r;

	r = wal_segment_write_head(store->io, draft->fd, slot);
	if (r == 0)
		r = wal_io_write(store->io, draft->fd, frame, WAL_FRAME_BYTES, WAL_HEAD_BYTES);
	if (r == 0 && replace)
		r = store->io->fdatasync(store->io, draft->fd);
	if (r < 0)
		return r;
	draft_path(draft->number, from);
	wal_stream_path(stream, slot->id.first, WAL_SUFFIX_SEGMENT, to, sizeof(to));
	return store->io->renameat(store->io, store->dirfd, from, to, replace);
}

static void journal_commit(struct wal_stream *stream, struct wal_draft *draft, struct wal_append *req,
			   const uint8_t frame[WAL_FRAME_BYTES], uint64_t *reserved)
{
	struct wal_journal *journal = &stream->store->journal;
	struct wal_journal_entry segment = { .type = WAL_ENTRY_SEGMENT,
					     .stream_id = stream->id,
					     .seq = req->seq,
					     .segment = req->seq,
					     .off = draft->number };
	struct wal_journal_entry large = { .type = WAL_ENTRY_LARGE,
					   .stream_id = stream->id,
					   .seq = req->seq,
					   .n = 1,
					   .segment = req->seq,
					   .off = WAL_HEAD_BYTES };
	uint8_t sector[WAL_SECTOR];
	struct wal_span slot = { sector, sizeof(sector) }, bytes = { frame, WAL_FRAME_BYTES };

	wal_slot_encode(sector, &stream->slot);
	(void)wal_journal_put(journal, &segment, &slot, 1, &stream->bound, stream->name, NULL, reserved);
	req->priv[WAL_PRIV_LSN] = wal_journal_put(journal, &large, &bytes, 1, &stream->bound, stream->name, req,
						  reserved);
	stream->live->pending++;
}

static int commit_locked(struct wal_stream *stream, struct wal_append *req, struct wal_frame *frame, bool journaled,
			 uint64_t *reserved)
{
	struct wal_live *live = stream->live;
	struct wal_draft *draft = req->draft;
	struct wal_segment *last = wal_stream_last(stream), *seg;
	bool replace = last->id.first == live->next;
	struct wal_slot slot = stream->slot;
	uint8_t bytes[WAL_FRAME_BYTES];
	int64_t now = wal_store_now(stream->store);
	int r;

	if (replace && (atomic_load(&last->users) > 0 || stream->flushing))
		return -EAGAIN;
	seg = wal_segment_new(live->next);
	r = seg ? wal_live_add(live, seg) : -ENOMEM;
	if (r < 0) {
		wal_store_put_segment(stream->store, seg);
		return r;
	}
	live->n--;
	req->seq = frame->seq = live->next;
	req->time_ns = frame->time_ns = now > live->last_time ? now : live->last_time;
	wal_frame_encode(bytes, frame, (struct wal_span){ draft->header, draft->header_len }, draft->seed);
	slot.gen++;
	slot.id = (struct wal_identity){ .stream_id = stream->id,
					 .first = live->next,
					 .salt = draft->salt,
					 .created_ns = now,
					 .time_base = live->last_time,
					 .pos = live->pos_next };
	slot.mark_off = 0; /* nothing of it was synced yet */
	r = install_locked(stream, draft, &slot, bytes, replace);
	if (r < 0) {
		wal_store_put_segment(stream->store, seg);
		return r;
	}
	seg->id = slot.id;
	seg->seed = draft->seed;
	seg->fd = draft->fd;
	draft->fd = -1;
	atomic_fetch_add(&stream->store->open_files, 1);
	seg->size = WAL_HEAD_BYTES + wal_record_len(frame->header_len, frame->content_len);
	seg->loaded = seg->dirty = seg->entry_dirty = true;
	seg->unjournaled = !journaled;
	seg->indexed = wal_index_note(&seg->index, (struct wal_point){ req->seq, WAL_HEAD_BYTES, 0 }) == 0;
	seg->pos = live->pos_next;
	seg->content = frame->content_len;
	if (replace) {
		live->segs[live->n - 1] = seg;
		wal_store_put_segment(stream->store, last);
	} else {
		wal_stream_seal_locked(stream, last);
		live->segs[live->n++] = seg;
	}
	stream->slot = slot;
	wal_space_move_locked(stream, replace ? NULL : last);
	stream->marked_relaxed |= !journaled;
	wal_stream_mark_dirty_locked(stream, !journaled);
	if (journaled)
		journal_commit(stream, draft, req, bytes, reserved);
	live->next++;
	live->pos_next += frame->content_len;
	req->priv[WAL_PRIV_POS] = live->pos_next;
	live->last_time = req->time_ns;
	return 0;
}

int wal_draft_commit(struct wal_stream *stream, struct wal_append *req)
{
	struct wal_store *store = stream->store;
	uint64_t reserved = 2 * WAL_JOURNAL_EXTRA;
	struct wal_draft *draft = req->draft;
	struct wal_frame frame;
	bool journaled, sync = stream->durable || req->flags & WAL_APPEND_DURABLE, synced = false;
	int r;

	if (store->rdonly)
		return -EROFS;
	if (draft->stream != stream)
		return -EINVAL;
	r = finish_content(draft, &frame);
	if (r < 0)
		return r;
	r = wal_journal_reserve(&store->journal, reserved, false);
	if (r < 0 && stream->durable)
		return r;
	if (r < 0)
		reserved = 0; /* a relaxed stream goes on without a journal */
	do {
		r = sync && !synced ? sync_content(draft) : 0;
		synced = sync;
		if (r == 0)
			r = wal_stream_lock_live(stream, 0);
		if (r < 0)
			break;
		while (stream->flushing || stream->batching)
			pthread_cond_wait(&stream->cond, &stream->lock);
		journaled = wal_append_journaled_locked(stream);
		req->stream = stream;
		req->priv[WAL_PRIV_BYTES] = frame.header_len + frame.content_len;
		r = stream->deleted || !stream->live ? -EAGAIN : wal_append_allowed_locked(stream, req);
		if (r == 0 && journaled && reserved == 0)
			r = -EROFS;
		sync |= journaled; /* it need not have been so at first */
		if (r == 0 && sync && !synced)
			r = -EAGAIN;
		if (r == 0)
			r = commit_locked(stream, req, &frame, journaled, &reserved);
		if (r < 0)
			pthread_mutex_unlock(&stream->lock);
		else
			r = wal_append_finish(stream, req, journaled);
	} while (r == -EAGAIN);
	wal_journal_unreserve(&store->journal, reserved);
	return r;
}

void wal_draft_consume(struct wal_draft *draft)
{
	assert(draft->fd < 0); /* its file is a segment now */
	draft_free(draft);
}

int wal_draft_append(struct wal_stream *stream, struct wal_append *req)
{
	const struct wal_entry *entry = &req->entries[0];
	int r;

	r = wal_draft_open(stream, entry->header, &req->draft);
	if (r < 0)
		return r;
	req->priv[WAL_PRIV_OWN_DRAFT] = 1;
	if (r == 0)
		r = wal_draft_write(req->draft, entry->content.base, entry->content.len);
	if (r == 0)
		r = wal_draft_commit(stream, req);
	if (r < 0) { /* not handed over: else the completion deals with it */
		wal_draft_abort(req->draft);
		req->draft = NULL;
	}
	return r;
}
