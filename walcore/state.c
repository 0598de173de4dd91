/* SPDX-License-Identifier: MIT
 *
 * state: what a stream is set to and owned by. A change is in the slot of the newest segment and in the
 * journal; in a durable stream it is durable when the call returns.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>

#include "banned.h"
#include "bytes.h"
#include "key.h"
#include "stream.h"

/* ---- read ---------------------------------------------------------------------------------------------- */

struct newest {
	uint64_t below; /* looking for the largest one below */
	uint64_t first;
	unsigned others;
};

static int see_name(void *arg, const char *name, unsigned char type)
{
	const char *suffix = strrchr(name, '.');
	struct newest *newest = arg;
	uint64_t first;

	(void)type;
	if (wal_segment_parse_name(name, &first) < 0) /* an index is a cache, here of segments that were never synced */
		newest->others += !suffix || strcmp(suffix, WAL_SUFFIX_INDEX) != 0;
	else if (first < newest->below && first > newest->first)
		newest->first = first;
	return 0;
}

static int load_head(struct wal_stream *stream, uint64_t first, struct stat *ret_st)
{
	struct wal_store *store = stream->store;
	char path[WAL_PATH_MAX];
	int fd, r;

	wal_stream_path(stream, first, WAL_SUFFIX_SEGMENT, path, sizeof(path));
	fd = wal_io_open(store->io, store->dirfd, path, O_RDONLY, 0);
	if (fd < 0)
		return fd;
	r = store->io->fstat(store->io, fd, ret_st);
	if (r == 0)
		r = wal_segment_read_head(store->io, fd, &stream->slot);
	(void)store->io->close(store->io, fd); /* only read from */
	return r;
}

int wal_stream_load_state(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;
	struct newest newest = { .below = UINT64_MAX };
	bool garbage = false;
	struct stat st = { .st_size = 0 };
	int r;

	do { /* a newest segment whose creation was torn is passed; there is one such as a rule */
		newest.first = 0;
		newest.others = 0;
		r = wal_io_list(store->io, store->dirfd, stream->name, see_name, &newest);
		if (r < 0)
			return r == -ENOTDIR || r == -ELOOP ? -ENOENT : r;
		/* None was ever written: a creation that was never finished, or a power loss took it. */
		if (newest.first == 0)
			return garbage || newest.others ? -EBADMSG : -ENODATA;
		r = load_head(stream, newest.first, &st);
		garbage |= r == -EBADMSG && (newest.first != 1 || st.st_size > WAL_HEAD_BYTES);
		newest.below = newest.first;
	} while (r == -EBADMSG || r == -ENODATA);
	if (r < 0)
		return r;
	stream->id = stream->slot.id.stream_id;
	stream->file_time = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	return 0;
}

/* ---- changed ------------------------------------------------------------------------------------------- */

/* Writes the changed state to the slot and to the journal. */
int wal_stream_change_slot(struct wal_stream *stream, const struct wal_attr *attr, const struct wal_settings *settings)
{
	struct wal_store *store = stream->store;
	struct wal_journal_entry entry = { .type = WAL_ENTRY_SLOT, .stream_id = stream->id };
	uint64_t reserved = WAL_STATE_RESERVE, lsn = 0;
	uint8_t sector[WAL_SECTOR];
	struct wal_span payload = { sector, sizeof(sector) };
	struct wal_slot old;
	int r, tries = 0;
	bool durable;

	if (store->rdonly)
		return -EROFS;
	r = wal_journal_reserve(&store->journal, reserved, false);
	if (r < 0)
		return r;
again:
	r = wal_stream_lock_live(stream, 0);
	if (r < 0) {
		wal_journal_unreserve(&store->journal, reserved);
		return r;
	}
	if (stream->unsynced) { /* neither here nor in the journal would it last */
		pthread_mutex_unlock(&stream->lock);
		wal_journal_unreserve(&store->journal, reserved);
		return -EROFS;
	}
	if (settings && settings->durability != WAL_DURABILITY_RELAXED && stream->marked_relaxed && tries++ < 64) {
		/* What is relaxed must be on disk before the first journaled record behind it. */
		pthread_mutex_unlock(&stream->lock);
		r = wal_stream_sync(stream);
		if (r == 0)
			goto again;
		wal_journal_unreserve(&store->journal, reserved);
		return r;
	}
	old = stream->slot;
	durable = stream->durable;
	if (attr)
		stream->slot.attr = *attr;
	if (settings)
		stream->slot.settings = *settings;
	r = wal_stream_write_slot_locked(stream);
	if (r == 0) {
		wal_slot_encode(sector, &stream->slot);
		wal_stream_apply_settings_locked(stream);
		durable |= stream->durable;
		wal_stream_mark_dirty_locked(stream, !stream->durable);
		lsn = wal_journal_put(&store->journal, &entry, &payload, 1, &stream->bound, stream->name, NULL,
				      &reserved);
	} else {
		stream->slot.attr = old.attr;
		stream->slot.settings = old.settings;
	}
	pthread_mutex_unlock(&stream->lock);
	wal_journal_unreserve(&store->journal, reserved);
	return r == 0 && durable ? wal_journal_wait(&store->journal, lsn) : r;
}

int wal_stream_set_attr(struct wal_stream *stream, const struct wal_attr *attr)
{
	struct wal_attr masked = *attr;

	masked.mode &= 07777;
	return wal_stream_change_slot(stream, &masked, NULL);
}

static void note_retention(struct wal_super *super, void *arg)
{
	super->retention_ns = *(uint64_t *)arg;
}

/* The keeper looks at streams that nobody uses only where some stream was ever given an age. */
int wal_store_note_retention(struct wal_store *store, uint64_t age_ns)
{
	bool news;

	if (age_ns == 0 || age_ns == WAL_FOREVER)
		return 0;
	pthread_mutex_lock(&store->state_lock);
	news = store->super.retention_ns == 0 || age_ns < store->super.retention_ns;
	pthread_mutex_unlock(&store->state_lock);
	return news ? wal_store_write_state(store, note_retention, &age_ns) : 0;
}

int wal_stream_set_settings(struct wal_stream *stream, const struct wal_settings *settings)
{
	int r;

	if (stream->store->rdonly)
		return -EROFS;
	r = wal_store_note_retention(stream->store, settings->retention_age_ns);
	if (r == 0)
		r = wal_stream_change_slot(stream, NULL, settings);
	if (r == 0 && settings->durability != WAL_DURABILITY_RELAXED)
		r = wal_stream_sync(stream);
	if (r == 0)
		(void)wal_retain(stream); /* the setting stands: applied again with the next segment */
	return r;
}
