/* SPDX-License-Identifier: MIT
 *
 * What every part of a store uses: its clock, its trace, its troubles, and its state in the marker's two slots.
 */
#include "store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <time.h>

#include "banned.h"
#include "bytes.h"

int64_t wal_store_now(const struct wal_store *store)
{
	struct timespec ts;

	if (store->opts.now_ns)
		return store->opts.now_ns(store->opts.now_arg);
	clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

void wal_store_trace(const struct wal_store *store, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if (!store->opts.trace)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	store->opts.trace(store->opts.trace_arg, line);
}

void wal_store_note(struct wal_store *store, const char *key, const char *file, uint64_t off, uint64_t seq, uint64_t n,
		    int code, const char *reason)
{
	struct wal_trouble trouble = { key, file, off, seq, n, code, reason };

	if (wal_troubles_add(&store->troubles, &trouble))
		wal_store_trace(store, "stream=%s file=%s off=%" PRIu64 " seq=%" PRIu64 " n=%" PRIu64 ": %s (%s)", key,
				file, off, seq, n, reason, wal_strerror(code));
}

/* ---- state ------------------------------------------------------------------------------------------- */

int wal_store_write_state(struct wal_store *store, void (*change)(struct wal_super *super, void *arg), void *arg)
{
	uint8_t sector[WAL_SECTOR];
	struct wal_super super;
	uint64_t since;
	int r;

	pthread_mutex_lock(&store->state_io_lock);
	pthread_mutex_lock(&store->state_lock);
	super = store->super;
	r = store->state_failed ? -EROFS : 0;
	pthread_mutex_unlock(&store->state_lock);
	if (r == 0) {
		change(&super, arg);
		super.gen++;
		wal_super_encode(sector, &super);
		r = wal_io_write(store->io, store->state_fd, sector, sizeof(sector), WAL_SLOT_OFF(super.gen & 1));
		since = wal_latency_now();
		if (r == 0)
			r = store->io->fdatasync(store->io, store->state_fd);
		wal_latency_add(&store->sync_latency, since);
		pthread_mutex_lock(&store->state_lock);
		if (r == 0)
			store->super = super;
		else
			store->state_failed = r; /* which of the two is on disk is not known: never tried again */
		pthread_mutex_unlock(&store->state_lock);
		if (r < 0)
			wal_store_note(store, "", WAL_FILE_STORE, 0, 0, 0, r, "the store's state could not be synced");
	}
	pthread_mutex_unlock(&store->state_io_lock);
	return r;
}

static void raise_bound(struct wal_super *super, void *arg)
{
	super->id_bound = wal_max_u64(super->id_bound, *(uint64_t *)arg);
}

int wal_store_next_id(struct wal_store *store, uint64_t *ret_id)
{
	uint64_t bound;
	int r;

	for (;;) {
		pthread_mutex_lock(&store->state_lock);
		if (store->next_id > WAL_STREAM_ID_MAX) {
			pthread_mutex_unlock(&store->state_lock);
			return -ENOSPC;
		}
		if (store->next_id < store->super.id_bound) {
			*ret_id = store->next_id++;
			pthread_mutex_unlock(&store->state_lock);
			return 0;
		}
		bound = store->super.id_bound + WAL_ID_RESERVE;
		pthread_mutex_unlock(&store->state_lock);
		r = wal_store_write_state(store, raise_bound, &bound);
		if (r < 0)
			return r;
	}
}

int wal_store_get_settings(struct wal_store *store, struct wal_settings *ret_settings)
{
	pthread_mutex_lock(&store->state_lock);
	*ret_settings = store->super.settings;
	pthread_mutex_unlock(&store->state_lock);
	return 0;
}
