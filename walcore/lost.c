/* SPDX-License-Identifier: MIT
 *
 * lost: a directory with segments that have no head. Where they end with it they were never written: an unfinished creation,
 * and nothing to keep. Where bytes come behind it, a power loss took the beginning of a relaxed stream that no sync had
 * reached, or the disk lost it later; nobody can tell which. Who makes a stream of the same key gets a new one, and the old
 * files stay in .walfs/lost: nothing is deleted because it looks wrong.
 */
#include <errno.h>
#include <inttypes.h>

#include "banned.h"
#include "stream.h"

static int look(void *arg, const char *name, unsigned char type)
{
	const struct wal_stream *stream = arg;
	struct wal_store *store = stream->store;
	char path[WAL_PATH_MAX];
	struct stat st;
	uint64_t first;
	int r;

	(void)type;
	if (wal_segment_parse_name(name, &first) < 0)
		return 0;
	(void)snprintf(path, sizeof(path), "%s/%s", stream->name, name);
	r = store->io->fstatat(store->io, store->dirfd, path, &st);
	return r < 0 ? r : st.st_size > WAL_HEAD_BYTES;
}

int wal_stream_has_bytes(const struct wal_stream *stream)
{
	struct wal_store *store = stream->store;

	return wal_io_list(store->io, store->dirfd, stream->name, look, (void *)stream);
}

int wal_stream_put_away(struct wal_stream *stream)
{
	struct wal_store *store = stream->store;
	char path[64];
	int r;

	r = wal_io_ensure_dir(store->io, store->dirfd, WAL_DIR_LOST);
	if (r < 0)
		return r;
	(void)snprintf(path, sizeof(path), WAL_DIR_LOST "/%" PRIu64, stream->id); /* the new stream's: nobody else's */
	r = store->io->renameat(store->io, store->dirfd, stream->name, path, false);
	if (r == 0)
		r = wal_io_sync_dir(store->io, store->dirfd, WAL_DIR_LOST);
	if (r == 0)
		r = wal_io_sync_dir(store->io, store->dirfd, WAL_DIR_META);
	if (r == 0)
		r = store->io->mkdirat(store->io, store->dirfd, stream->name, 0700);
	if (r == 0)
		wal_store_trace(store, "stream %s: made anew; segments without a head are now in %s", stream->name,
				path);
	return r;
}
