/* SPDX-License-Identifier: MIT
 *
 * open: opening a store is marker, lock, state, replay, a new epoch; closing is a checkpoint, so that the next
 * opening has nothing to replay. Neither looks at streams that the journal does not speak of.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#include "aside.h"
#include "banned.h"
#include "bytes.h"
#include "err.h"
#include "replay.h"
#include "store.h"
#include "stream.h"

static void set_settings(struct wal_super *super, void *arg)
{
	super->settings = *(const struct wal_settings *)arg;
}

/* Handles of all streams in the table, so that none of their locks is waited for with the store's held. */
static int take_all(struct wal_store *store, struct wal_stream ***ret_streams, uint64_t *ret_n)
{
	struct wal_stream **streams, *stream, *tmp;
	uint64_t n = 0;

	pthread_mutex_lock(&store->lock);
	streams = calloc(store->n_streams + 1, sizeof(struct wal_stream *));
	if (streams) {
		HASH_ITER(hh, store->streams, stream, tmp)
			streams[n++] = wal_stream_ref(stream);
	}
	pthread_mutex_unlock(&store->lock);
	if (!streams)
		return -ENOMEM;
	*ret_streams = streams;
	*ret_n = n;
	return 0;
}

int wal_store_set_settings(struct wal_store *store, const struct wal_settings *settings)
{
	struct wal_settings copy = *settings;
	struct wal_stream **streams;
	uint64_t n;
	int r;

	if (store->rdonly)
		return -EROFS;
	r = wal_store_note_retention(store, settings->retention_age_ns);
	if (r == 0)
		r = wal_store_sync(store); /* what is relaxed now may be durable by default next */
	if (r == 0)
		r = wal_store_write_state(store, set_settings, &copy);
	if (r < 0)
		return r;
	r = take_all(store, &streams, &n);
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < n; i++) {
		pthread_mutex_lock(&streams[i]->lock);
		wal_stream_apply_settings_locked(streams[i]);
		pthread_mutex_unlock(&streams[i]->lock);
		wal_stream_unref(streams[i]);
	}
	free(streams);
	wal_store_want_retention(store);
	return wal_store_sync(store);
}

static int look_foreign(void *arg, const char *name, unsigned char type)
{
	char *foreign = arg;

	(void)type;
	if (strcmp(name, "lost+found") == 0 || strcmp(name, WAL_DIR_META) == 0)
		return 0;
	(void)snprintf(foreign, NAME_MAX + 1, "%s", name);
	return 1;
}

/* Zeros, written: preallocated extents that were never written cost a metadata update at the first sync of each. */
static int make_journal(struct wal_store *store, uint64_t size)
{
	static const uint8_t zeros[65536];
	int fd, r = 0;

	fd = wal_io_open(store->io, store->dirfd, WAL_FILE_JOURNAL, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return fd;
	for (uint64_t off = 0; off < size && r == 0; off += sizeof(zeros))
		r = wal_io_write(store->io, fd, zeros, (size_t)wal_min_u64(sizeof(zeros), size - off), off);
	if (r == 0)
		r = store->io->fsync(store->io, fd);
	(void)store->io->close(store->io, fd); /* synced, or thrown away */
	return r;
}

/* The marker comes last, under a name of its own until it is on disk: with it, the store is. So the way to it is on disk before. */
static int make_marker(struct wal_store *store, uint64_t journal_bytes)
{
	struct wal_marker marker = { .created_ns = wal_store_now(store), .journal_bytes = journal_bytes };
	struct wal_super super = { .gen = 2, .epoch = 1, .id_bound = 1 };
	uint8_t buf[WAL_HEAD_BYTES] = { 0 };
	int fd, r;

	if (getrandom(marker.uuid, sizeof(marker.uuid), 0) != sizeof(marker.uuid))
		return -EIO;
	wal_marker_encode(buf, &marker);
	wal_super_encode(buf + WAL_SLOT_OFF(0), &super);
	fd = wal_io_open(store->io, store->dirfd, WAL_FILE_STORE ".new", O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return fd;
	r = wal_io_write(store->io, fd, buf, sizeof(buf), 0);
	if (r == 0)
		r = store->io->fsync(store->io, fd);
	(void)store->io->close(store->io, fd); /* synced, or thrown away */
	if (r == 0)
		r = wal_io_sync_dir(store->io, store->dirfd, WAL_DIR_META);
	if (r == 0)
		r = store->io->fsync(store->io, store->dirfd);
	if (r == 0)
		r = wal_io_sync_dir(store->io, store->dirfd, "..");
	if (r == -EACCES) /* not ours to read: then it was not made just now, by us */
		r = 0;
	if (r == 0)
		r = store->io->renameat(store->io, store->dirfd, WAL_FILE_STORE ".new", WAL_FILE_STORE, false);
	return r;
}

static int make_store(struct wal_store *store, struct wal_err *err)
{
	uint64_t size = store->opts.journal_bytes;
	char foreign[NAME_MAX + 1];
	int r;

	r = wal_io_list(store->io, store->dirfd, ".", look_foreign, foreign);
	if (r > 0)
		return wal_err_set(err, -ENOTEMPTY, "not a store, and not empty: it holds '%.60s'", foreign);
	if (r == 0 && !(store->opts.flags & WAL_OPEN_CREATE))
		return wal_err_set(err, -ENOENT, "not a store: the directory is empty");
	if (r == 0 && store->rdonly)
		return wal_err_set(err, -ENOENT, "not a store, and opened read-only");
	size = size ? size : WAL_JOURNAL_BYTES_DEFAULT;
	size = wal_max_u64(wal_min_u64(size, WAL_JOURNAL_BYTES_MAX), WAL_JOURNAL_BYTES_MIN) / 4096 * 4096;
	if (r == 0)
		r = wal_io_ensure_dir(store->io, store->dirfd, WAL_DIR_META);
	if (r == 0)
		r = make_journal(store, size);
	if (r == 0)
		r = make_marker(store, size);
	return r < 0 ? wal_err_sys(err, r, "make the store") : 0;
}

static int take_lock(struct wal_store *store, struct wal_err *err)
{
	char text[128] = "", self[64];
	ssize_t n;
	int r;

	r = wal_io_ensure_dir(store->io, store->dirfd, WAL_DIR_META);
	if (r < 0)
		return wal_err_sys(err, r, "%s", WAL_DIR_META);
	store->lock_fd = wal_io_open(store->io, store->dirfd, WAL_FILE_LOCK, O_RDWR | O_CREAT, 0600);
	if (store->lock_fd < 0)
		return wal_err_sys(err, store->lock_fd, "%s", WAL_FILE_LOCK);
	r = store->io->lock(store->io, store->lock_fd);
	if (r == -EBUSY) {
		n = wal_io_read(store->io, store->lock_fd, text, sizeof(text) - 1, 0, false);
		if (n > 0 && text[n - 1] == '\n')
			text[n - 1] = '\0';
		return wal_err_set(err, r, "in use by %s", text[0] ? text : "another process");
	}
	if (r < 0)
		return wal_err_sys(err, r, "lock %s", WAL_FILE_LOCK);
	(void)snprintf(self, sizeof(self), "%s",
		       store->opts.holder ? store->opts.holder : program_invocation_short_name);
	(void)snprintf(text, sizeof(text), "process %ld (%.60s)\n", (long)getpid(), self);
	/* The name is a help for the next one; on a full disk the lock itself must still do. */
	if (store->io->ftruncate(store->io, store->lock_fd, 0) == 0)
		(void)wal_io_write(store->io, store->lock_fd, text, strlen(text), 0);
	return 0;
}

static int read_marker(struct wal_store *store, struct wal_err *err)
{
	uint8_t buf[WAL_HEAD_BYTES] = { 0 };
	ssize_t n;
	int r;

	store->state_fd = wal_io_open(store->io, store->dirfd, WAL_FILE_STORE, store->rdonly ? O_RDONLY : O_RDWR, 0);
	if (store->state_fd < 0)
		return store->state_fd;
	n = wal_io_read(store->io, store->state_fd, buf, sizeof(buf), 0, false);
	if (n < 0)
		return wal_err_sys(err, (int)n, "read %s", WAL_FILE_STORE);
	r = wal_marker_decode(buf, &store->marker);
	if (r == 1 && !store->rdonly)
		r = -EPROTONOSUPPORT;
	if (r < 0)
		return wal_err_sys(err, r, "%s", WAL_FILE_STORE);
	r = wal_super_pick(buf, &store->super);
	return r < 0 ? wal_err_sys(err, r, "%s: state", WAL_FILE_STORE) : 0;
}

struct opening {
	uint64_t checkpoint;
};

static void begin_epoch(struct wal_super *super, void *arg)
{
	super->epoch++;
	super->checkpoint = ((const struct opening *)arg)->checkpoint;
}

static int clear_one(void *arg, const char *name, unsigned char type)
{
	struct wal_store *store = arg;
	char path[600];

	(void)type;
	(void)snprintf(path, sizeof(path), "%s/%s", WAL_DIR_TRASH, name);
	(void)wal_io_remove_dir(store->io, store->dirfd, path); /* tried again at the next opening */
	return 0;
}

static int clear_draft(void *arg, const char *name, unsigned char type)
{
	struct wal_store *store = arg;
	char path[600];

	(void)type;
	(void)snprintf(path, sizeof(path), "%s/%s", WAL_DIR_DRAFTS, name);
	(void)store->io->unlinkat(store->io, store->dirfd, path, false);
	return 0;
}

static int open_journal(struct wal_store *store, struct wal_err *err)
{
	struct opening opening = { store->super.checkpoint };
	struct stat st;
	int fd, r;

	fd = wal_io_open(store->io, store->dirfd, WAL_FILE_JOURNAL, O_RDWR, 0);
	if (fd < 0)
		return wal_err_sys(err, fd, "%s", WAL_FILE_JOURNAL);
	r = store->io->fstat(store->io, fd, &st);
	if (r == 0 && (uint64_t)st.st_size != store->marker.journal_bytes)
		r = wal_err_set(err, -EBADMSG, "%s: has %lld bytes instead of %llu", WAL_FILE_JOURNAL,
				(long long)st.st_size, (unsigned long long)store->marker.journal_bytes);
	if (r == 0)
		r = wal_io_ensure_dir(store->io, store->dirfd, WAL_DIR_DRAFTS);
	if (r == 0)
		r = wal_io_ensure_dir(store->io, store->dirfd, WAL_DIR_TRASH);
	if (r == 0)
		r = wal_io_ensure_dir(store->io, store->dirfd, WAL_DIR_REPLAY);
	if (r == 0) /* these, and the marker, which may be there since somebody was killed before he could sync it */
		r = wal_io_sync_dir(store->io, store->dirfd, WAL_DIR_META);
	if (r == 0)
		r = wal_io_ensure_dir(store->io, store->dirfd, WAL_DIR_ASIDE);
	if (r == 0) /* what will be synced in them must not be lost with them */
		r = wal_io_sync_dir(store->io, store->dirfd, WAL_DIR_META);
	if (r ==
	    0) /* what is done by it must not outlive it: who wrote it may have been killed before he could sync it */
		r = store->io->fdatasync(store->io, fd);
	if (r == 0)
		r = wal_store_replay(store, fd, wal_entry_seed(store->marker.uuid, store->super.epoch),
				     &opening.checkpoint, err);
	if (r == 0)
		r = wal_store_write_state(store, begin_epoch, &opening);
	if (r < 0) {
		(void)store->io->close(store->io, fd);
		return wal_err_wrap(err, r, "journal");
	}
	r = wal_journal_init(&store->journal, store->io, fd, store->marker.journal_bytes, store->super.checkpoint);
	store->journal.seed = wal_entry_seed(store->marker.uuid, store->super.epoch);
	store->journal.complete = wal_append_complete;
	store->journal.need_space = wal_store_want_checkpoint;
	store->journal.arg = store;
	(void)wal_io_list(store->io, store->dirfd, WAL_DIR_TRASH, clear_one, store);
	if (!store->held) /* else what was set aside may speak of one */
		(void)wal_io_list(store->io, store->dirfd, WAL_DIR_DRAFTS, clear_draft, store);
	store->draft_next = (store->super.epoch << 32) +
			    1; /* a number is never used again: entries name drafts by it */
	return r;
}

static void apply_defaults(struct wal_store *store)
{
	struct wal_opts *opts = &store->opts;
	struct rlimit limit = { 1024, 1024 };

	if (!opts->io)
		opts->io = &wal_io_posix;
	store->io = opts->io;
	store->rdonly = opts->flags & WAL_OPEN_RDONLY;
	opts->interval_ns = opts->interval_ns ? opts->interval_ns : (uint64_t)WAL_INTERVAL_DEFAULT_NS;
	opts->segment_bytes = opts->segment_bytes ? wal_max_u64(opts->segment_bytes, WAL_SEGMENT_BYTES_MIN)
						  : WAL_SEGMENT_BYTES_DEFAULT;
	opts->max_record = wal_min_u64(opts->max_record, WAL_CONTENT_MAX);
	if (opts->open_files_max == 0) {
		(void)getrlimit(RLIMIT_NOFILE, &limit); /* keeps the guess where it fails */
		opts->open_files_max = (uint32_t)wal_min_u64(limit.rlim_cur / 2, WAL_OPEN_FILES_DEFAULT_MAX);
	}
	opts->open_files_max = (uint32_t)wal_max_u64(opts->open_files_max, WAL_OPEN_FILES_MIN);
	store->index_points_kept = WAL_INDEX_POINTS_KEPT;
	store->live_max = opts->open_files_max / 2; /* a live stream has up to two files open */
}

static void init_locks(struct wal_store *store)
{
	pthread_condattr_t attr;

	pthread_mutex_init(&store->names_lock, NULL);
	pthread_mutex_init(&store->birth_lock, NULL);
	pthread_mutex_init(&store->flush_lock, NULL);
	pthread_mutex_init(&store->aside_lock, NULL);
	pthread_cond_init(&store->named_cond, NULL);
	pthread_mutex_init(&store->lock, NULL);
	pthread_mutex_init(&store->live_lock, NULL);
	pthread_mutex_init(&store->state_lock, NULL);
	pthread_mutex_init(&store->state_io_lock, NULL);
	pthread_mutex_init(&store->dirty_lock, NULL);
	pthread_mutex_init(&store->entries_lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&store->keeper_cond, &attr);
	pthread_condattr_destroy(&attr);
	wal_troubles_init(&store->troubles);
}

/* Everything but the journal, the keeper and the streams. */
static void store_free(struct wal_store *store)
{
	const int fds[] = { store->state_fd, store->lock_fd, store->dirfd };

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			(void)store->io->close(store->io, fds[i]);
	wal_aside_fini(store);
	wal_troubles_fini(&store->troubles);
	pthread_cond_destroy(&store->keeper_cond);
	pthread_mutex_destroy(&store->entries_lock);
	pthread_mutex_destroy(&store->dirty_lock);
	pthread_mutex_destroy(&store->state_io_lock);
	pthread_mutex_destroy(&store->state_lock);
	pthread_mutex_destroy(&store->live_lock);
	pthread_mutex_destroy(&store->lock);
	pthread_mutex_destroy(&store->flush_lock);
	pthread_mutex_destroy(&store->aside_lock);
	pthread_cond_destroy(&store->named_cond);
	pthread_mutex_destroy(&store->birth_lock);
	pthread_mutex_destroy(&store->names_lock);
	free(store);
}

static int open_dir(struct wal_store *store, const char *path, struct wal_err *err)
{
	int fd = store->io->openat(store->io, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	int r;

	if (fd == -ENOENT && store->opts.flags & WAL_OPEN_CREATE && !store->rdonly) {
		r = store->io->mkdirat(store->io, AT_FDCWD, path, 0700);
		if (r < 0)
			return wal_err_sys(err, r, "make the directory");
		fd = store->io->openat(store->io, AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	}
	if (fd < 0)
		return wal_err_sys(err, fd, "open the directory");
	store->dirfd = fd;
	return 0;
}

static int open_parts(struct wal_store *store, struct wal_err *err)
{
	int r;

	r = read_marker(store, err);
	if (r == -ENOENT) {
		r = make_store(store, err);
		if (r == 0)
			r = take_lock(store, err);
		if (r == 0)
			r = read_marker(store, err);
	} else if (r == 0 && !store->rdonly) {
		(void)store->io->close(store->io, store->state_fd);
		store->state_fd = -1;
		r = take_lock(store, err); /* and then what the last holder wrote */
		if (r == 0)
			r = read_marker(store, err);
	} else if (r < 0 && store->state_fd < 0) {
		return wal_err_sys(err, r, "%s", WAL_FILE_STORE);
	}
	if (r < 0)
		return r;
	store->next_id = store->super.id_bound;
	if (store->rdonly)
		return 0;
	r = open_journal(store, err);
	(void)wal_store_retention_now(store); /* from here on a jump of the clock is seen */
	if (r == 0)
		r = wal_store_start_keeper(store);
	return r;
}

int wal_store_open(const char *url, const struct wal_opts *opts, struct wal_store **ret_store, struct wal_err *err)
{
	static const struct wal_opts defaults;
	struct wal_store *store = calloc(1, sizeof(*store));
	const char *path = strncmp(url, "file:", 5) == 0 ? url + 5 : url;
	int r;

	if (!store)
		return wal_err_set(err, -ENOMEM, "no memory");
	store->opts = opts ? *opts : defaults;
	store->dirfd = store->state_fd = store->lock_fd = -1;
	init_locks(store);
	apply_defaults(store);
	r = open_dir(store, path, err);
	if (r == 0)
		r = open_parts(store, err);
	if (r < 0) {
		if (store->journal.io)
			wal_journal_fini(&store->journal);
		store_free(store);
		return wal_err_wrap(err, r, "open store '%s'", path);
	}
	store->opts.holder = NULL;
	*ret_store = store;
	return 0;
}

static void settle_ids(struct wal_super *super, void *arg)
{
	super->id_bound = *(uint64_t *)arg;
}

int wal_store_close(struct wal_store *store)
{
	uint64_t next_id;
	int r = 0;

	if (!store)
		return 0;
	wal_store_stop_keeper(store);
	if (!store->rdonly) {
		r = wal_store_flush(store, true);
		/* The marks that the flush wrote: on disk too, so that from here on what is wrong is damage. */
		if (r == 0)
			r = store->io->syncfs(store->io, store->dirfd);
		next_id = store->next_id; /* nobody else is there any more */
		if (r == 0 && next_id != store->super.id_bound)
			r = wal_store_write_state(store, settle_ids, &next_id);
	}
	while (store->live)
		wal_stream_leave_ring(store->live);
	if (store->journal.io)
		wal_journal_fini(&store->journal);
	assert(!store->streams); /* every handle was given back */
	store_free(store);
	return r;
}
