/* SPDX-License-Identifier: MIT
 *
 * ledger: what was asked of a store and what it acknowledged, for several streams: records, names, owners, settings, trims. It
 * makes the calls, notes each before (it may be there) and after (it must be there), and holds a store that was opened after a
 * power loss to it:
 *   - What was acknowledged as durable is there, once, whole, in order, under its number. Of a relaxed stream the newest records may
 *     be missing, but none that a sync covered, and never one before another one that is there.
 *   - Nothing is there that was not asked for. A batch is there whole or not at all.
 *   - Streams, names, owners and settings are as acknowledged, or as the change asks that was under way.
 *
 * A session is a store on an io_disk with the ledger that belongs to it. Nothing here ends the test: what is wrong is written into
 * the session, once, and for a session whose disk went off nothing is wrong.
 *
 * Threads: one at a time; between ledger_share and the end of the threads any, each with a writer number of its own.
 */
#ifndef TESTS_SUPPORT_LEDGER_H
#define TESTS_SUPPORT_LEDGER_H

#include <walcore/walcore.h>

#include "io_disk.h"

#define LEDGER_STREAMS 16
#define LEDGER_ASKS 1024
#define LEDGER_SETS 64
#define LEDGER_BATCH 256

enum ledger_state { LEDGER_FREE, LEDGER_MAKING, LEDGER_THERE, LEDGER_GOING, LEDGER_GONE };

struct ledger_ask { /* a record that was asked for */
	uint32_t header_len, len;
	uint64_t seq;   /* 0: not acknowledged, nor seen after a crash */
	uint32_t batch; /* which append it was part of */
	uint8_t stream, writer;
	bool may; /* it may be there though it was not acknowledged */
};

struct ledger_stream {
	enum ledger_state state;
	bool sure;                /* it is there for certain once it is LEDGER_THERE */
	bool durable;             /* its appends are */
	bool left;                /* it went in a power loss; its directory may be left */
	bool loose;               /* a retention by age or bytes was set: any record may go */
	char name[24], other[24]; /* the one that a rename under way gives, or "" */
	uint64_t id;              /* 0: not known */
	uint64_t synced;          /* records below it are on disk */
	uint64_t trimmed, trimmed_may;
	uint64_t keep;           /* the smallest retention by records that was ever set, or 0 */
	uint32_t attr, attr_may; /* the version that is durable, and the newest that was asked for */
	uint32_t set, set_may;
};

struct ledger {
	struct ledger_stream streams[LEDGER_STREAMS];
	uint32_t n_streams, n_asks, n_sets, batches;
	uint32_t store_set, store_set_may;     /* the store's settings, by version */
	struct wal_settings sets[LEDGER_SETS]; /* every settings there were; the version is the place */
	struct ledger_ask asks[LEDGER_ASKS];   /* last: only those in use are copied */
};

struct session {
	struct io_disk *disk;
	struct wal_opts opts;
	struct wal_store *store; /* NULL: closed */
	struct wal_stream *handles[LEDGER_STREAMS];
	struct ledger *ledger;
	int64_t clock_ns;
	bool live;            /* the store's own threads run */
	bool dead;            /* its disk went off: what fails now is no wonder */
	bool killed;          /* only the process died: what is there may be in the page cache alone */
	bool faulty;          /* a sync fails in it: refused calls are no wonder */
	uint64_t fail_ino;    /* each sync of this file fails; 0: none does */
	char why[300];        /* what is wrong; empty: nothing */
	pthread_mutex_t lock; /* the ledger's */
};

void ledger_init(struct ledger *ledger);
/* Copies what is in use. */
void ledger_copy(struct ledger *to, const struct ledger *from);

/* The disk and the ledger stay the caller's. */
void session_init(struct session *s, struct io_disk *disk, struct ledger *ledger);
/* Opens the store, stops its keeper unless the session is live (a full journal then makes its checkpoint in the thread that waits
 * for it, so that each run makes the same calls), and opens the streams. */
void session_open(struct session *s);
/* Closes it and gives all handles back. */
void session_close(struct session *s);
/* The process dies: nothing more reaches the disk. */
void session_die(struct session *s);
bool session_ok(const struct session *s); /* nothing was wrong, and the disk is not off */
void session_wrong(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Acts: each returns what the engine returned. An error is wrong. `i` is a stream's place in the ledger. */
int ledger_create(struct session *s, const char *name, const struct wal_settings *settings, uint32_t *ret_i);
int ledger_append(struct session *s, uint32_t i, uint32_t n, uint32_t header_len, uint32_t len, uint32_t flags);
int ledger_append_as(struct session *s, uint8_t writer, uint32_t i, uint32_t n, uint32_t header_len, uint32_t len,
		     uint32_t flags);
int ledger_append_draft(struct session *s, uint32_t i, uint32_t header_len, uint32_t len, uint32_t flags);
int ledger_trim(struct session *s, uint32_t i, uint64_t first, uint32_t flags);
int ledger_retain(struct session *s, uint32_t i);
int ledger_rename(struct session *s, uint32_t i, const char *name);
int ledger_delete(struct session *s, uint32_t i);
int ledger_set_attr(struct session *s, uint32_t i);
int ledger_set(struct session *s, uint32_t i, const struct wal_settings *settings);
int ledger_set_store(struct session *s, const struct wal_settings *settings);
int ledger_sync(struct session *s, uint32_t i);
int ledger_sync_store(struct session *s);
int ledger_checkpoint(struct session *s);
uint64_t ledger_next(struct session *s, uint32_t i); /* the number that the next record gets */

/* After an opening: is all as it must be? What is there is from then on what must be there. */
void ledger_hold(struct session *s);
/* wal_store_verify finds nothing, and the store has no troubles. */
void ledger_hold_clean(struct session *s);

#endif
