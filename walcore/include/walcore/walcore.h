/* SPDX-License-Identifier: MIT
 *
 * walcore: streams of numbered, immutable records in a write-ahead log.
 *
 * A store holds streams. A stream is named by a key and is a sequence of records numbered 1, 2, 3, ...
 * without holes; a record is a header (0..65535 bytes), a content and the time it was committed. Records
 * come in at the tail and leave from the head; a number is never used twice.
 *
 * Conventions, for every call here:
 *   - Return 0 or a positive value for success, a negative errno for failure. errno itself is not set.
 *     Outputs are named ret_...; they are untouched on failure and always set on success.
 *   - Times are nanoseconds since 1970-01-01T00:00:00Z, durations nanoseconds, sizes bytes.
 *   - "borrowed" means valid for the call; "caller's" means that the memory stays the caller's; "owned"
 *     means that the library frees it.
 *   - Threads: any call may be made from any thread at any time, unless its comment says otherwise.
 *   - The library never prints, never exits, keeps no global state, and calls back with no lock held.
 *     After fork(2) a child must not use a store that its parent opened.
 *
 * Errors with a fixed meaning (others are the operating system's, passed through unchanged):
 *   -EBADMSG          what is on disk is damaged (its checksum does not match)
 *   -EPROTONOSUPPORT  the store has a format version or a flag that this library does not know
 *   -ENOENT           no such stream; no such record yet
 *   -EIDRM            the record was removed by a trim or by retention, or the stream was deleted
 *   -EMSGSIZE         over a limit: header, content, batch, key
 *   -EBUSY            the store is in use by another process (the text of wal_err names it)
 *   -EROFS            opened read-only, or stopped after a failed sync until the store is opened again: the stream whose files
 *                     could not be synced, or every durable change where it was the commit journal
 *   -ESTALE           the number that an append expected is not the next one
 *   -EAGAIN           WAL_NOWAIT was given and the call would have to wait for the disk
 *   -ENOSPC, -EDQUOT  no space
 */
#ifndef WALCORE_H
#define WALCORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WAL_VERSION_MAJOR 0
#define WAL_VERSION_MINOR 1
#define WAL_VERSION_PATCH 0
#define WAL_VERSION_STRING "0.1.0"

/* Limits. A key is 1..WAL_KEY_MAX bytes, none of them NUL, and its name (wal_key_to_name) fits a file name. */
#define WAL_KEY_MAX 255
#define WAL_NAME_MAX 255
#define WAL_HEADER_MAX 65535
#define WAL_CONTENT_MAX (UINT64_C(1) << 39) /* upper bound of any max_record */
#define WAL_BATCH_RECORDS_MAX (UINT32_C(1) << 20)
#define WAL_STREAM_ID_MAX ((UINT64_C(1) << 26) - 1) /* ids 1..this; 67 million streams ever created */

/* Flags of calls that read. */
#define WAL_NOWAIT 1u /* return -EAGAIN rather than wait for the disk, or for another thread that does */

struct wal_store;  /* an open store */
struct wal_stream; /* a counted handle on one stream; cheap to keep: it holds no file open */
struct wal_record; /* an open record: stays readable to its end when the stream is trimmed */
struct wal_iter;   /* a position in a stream */
struct wal_keys;   /* a position in the list of keys */
struct wal_draft;  /* a record under construction whose content is too large for memory */
struct wal_io;     /* the system calls; NULL is the real ones. Declared in the engine, for its tests */

/* A read-only view of bytes; passed by value, never freed through it. */
struct wal_span {
	const void *base;
	size_t len;
};

/* What went wrong, for a person: a code and a sentence, outermost context first. */
struct wal_err {
	int code; /* the negative errno that was returned too */
	char text[256];
};

/* ---- store ------------------------------------------------------------------------------------------- */

#define WAL_OPEN_CREATE 1u  /* make a store of an empty or missing directory */
#define WAL_OPEN_RDONLY 2u  /* change nothing; takes no lock, so it works on a store in use */
#define WAL_OPEN_RELAXED 4u /* streams without a setting of their own are relaxed, not durable */
#define WAL_OPEN_NO_TRIM 8u /* records are only added: trim, delete, rename and retention are -EPERM */

/* Options; all zero means all defaults. */
struct wal_opts {
	uint32_t flags;               /* WAL_OPEN_... */
	uint32_t open_files_max;      /* segment files kept open; 0: half of RLIMIT_NOFILE, at most 4096, at least 16 */
	uint64_t interval_ns;         /* a relaxed record is synced at most this long after its commit; 0: 1 s */
	uint64_t max_record;          /* content bytes, for streams without a setting; 0: the store's, else 1 GiB */
	uint64_t segment_bytes;       /* a segment is closed when it would grow past this; 0: 64 MiB */
	uint64_t journal_bytes;       /* size of the commit journal of a new store; 0: 32 MiB, at least 64 KiB */
	const char *holder;           /* borrowed: who holds the store, for the lock file; NULL: the process name */
	int64_t (*now_ns)(void *arg); /* the clock; NULL: CLOCK_REALTIME */
	/* a clock that never jumps, with any origin; NULL: CLOCK_BOOTTIME, or now_ns where that is given. Retention by age
	 * believes the first to advance no faster than this one */
	int64_t (*elapsed_ns)(void *arg);
	void *now_arg;                              /* for both */
	void (*trace)(void *arg, const char *line); /* told of rare events (recovery, damage); NULL: nobody */
	void *trace_arg;
	const struct wal_io *io; /* caller's, until close; NULL: the operating system */
};

/* Opens the store at `url`: a directory, or file:DIRECTORY. `err` may be NULL.
 * -EBUSY in use; -ENOTEMPTY not a store, and not empty; -ENOENT missing or empty without WAL_OPEN_CREATE;
 * -ENOTDIR; -EBADMSG; -EPROTONOSUPPORT. Close with wal_store_close. */
int wal_store_open(const char *url, const struct wal_opts *opts, struct wal_store **ret_store, struct wal_err *err);

/* Waits for running appends, syncs everything, closes. No other call may be running or made afterwards; all
 * handles (streams, records, iterators, drafts) must have been given back. NULL is allowed. Returns the
 * first error of the final sync; the store is closed all the same. Removes nothing. */
int wal_store_close(struct wal_store *store);

/* Makes every record that is committed now durable. */
int wal_store_sync(struct wal_store *store);

/* How long something took: how often up to each bound, in nanoseconds, and in the last bucket, above all. */
#define WAL_LATENCY_BUCKETS 17
#define WAL_LATENCY_BOUNDS_NS                                                                                      \
	{                                                                                                          \
		50000, 100000, 200000, 500000, 1000000, 2000000, 5000000, 10000000, 20000000, 50000000, 100000000, \
			200000000, 500000000, 1000000000, 2000000000, 5000000000                                   \
	}
struct wal_histogram {
	uint64_t n[WAL_LATENCY_BUCKETS]; /* not cumulative */
	uint64_t sum_ns;
};

struct wal_store_stat {
	uint64_t streams_live; /* streams recovered and in memory */
	uint64_t handles;      /* stream handles in memory */
	uint64_t open_files;   /* segment files open */
	uint64_t appends;      /* records committed since open */
	uint64_t append_bytes; /* header and content bytes of them */
	uint64_t commits;      /* groups committed through the journal */
	uint64_t syncs;        /* fdatasync, fsync and syncfs calls */
	uint64_t checkpoints;
	uint64_t journal_bytes; /* size of the journal */
	uint64_t journal_used;  /* bytes of it not yet checkpointed */
	uint64_t errors;        /* I/O errors and damage met since open */
	uint64_t damaged;       /* of them damage: the others are failed calls to the system */
	uint64_t journal_full;  /* how often an append waited for room in the journal */
	uint64_t recoveries;    /* streams recovered since open; again, where they were put out of memory */
	uint64_t waits;         /* wal_wait and wal_wait_submit that are not done */
	uint64_t trimmed;       /* records removed by wal_trim since open ... */
	uint64_t retained;      /* ... and by retention */
	uint64_t removed_segments;
	struct wal_histogram commit_time;     /* of a sync of the journal: what a durable append waits for */
	struct wal_histogram sync_time;       /* of any other: of segments, directories, the state */
	struct wal_histogram checkpoint_time; /* of a whole checkpoint */
	struct wal_histogram recovery_time;   /* of a stream */
	bool read_only;
	bool degraded; /* something stopped, or damage was met: see wal_store_troubles */
};
int wal_store_stat(struct wal_store *store, struct wal_store_stat *ret_stat);

/* Space of the medium below, in bytes and (files) in numbers of files; 0 files where that has no meaning. */
struct wal_space {
	uint64_t total, free, avail;
	uint64_t files, files_free;
	uint32_t block;
};
int wal_store_space(struct wal_store *store, struct wal_space *ret_space);

/* One thing that is wrong. Strings are borrowed during the callback. */
struct wal_trouble {
	const char *key;    /* the stream's key as a name (wal_key_to_name), or "" for the store */
	const char *file;   /* relative to the store, or "" */
	uint64_t off;       /* byte in the file */
	uint64_t seq;       /* record, or 0 */
	uint64_t n;         /* how many records from seq on, or 0 */
	int code;           /* negative errno */
	const char *reason; /* in words */
};
typedef void wal_trouble_fn(void *arg, const struct wal_trouble *trouble);

/* Tells all troubles met since open (at most 1024 are kept; the count beyond is told as one). */
int wal_store_troubles(struct wal_store *store, wal_trouble_fn *fn, void *arg);

/* ---- settings ---------------------------------------------------------------------------------------- */

#define WAL_FOREVER UINT64_MAX

enum wal_durability { WAL_DURABILITY_DEFAULT = 0, WAL_DURABILITY_DURABLE = 1, WAL_DURABILITY_RELAXED = 2 };

/* Settings of a stream, or defaults of a store. 0 means: what the level above says (stream, then store, then
 * options, then built in). WAL_FOREVER is an explicit "no limit". */
struct wal_settings {
	uint32_t durability; /* enum wal_durability */
	uint32_t reserved;
	uint64_t retention_age_ns;  /* a record may go when it is older than this */
	uint64_t retention_bytes;   /* ... when newer ones make up this many bytes (header and content) */
	uint64_t retention_records; /* ... when there are this many newer ones */
	uint64_t max_record;        /* content bytes, 1..WAL_CONTENT_MAX; WAL_FOREVER is that too */
};

/* Applies one text of whole `key=value` lines to `settings`: durable=yes|no|default, retention.age=7d
 * (ns us ms s m h d w; a plain number is seconds), retention.bytes=10G (K M G T, powers of 1024),
 * retention.records=1000, max_record=1M; `default` or an empty value clears, `none` is WAL_FOREVER.
 * -EINVAL: unknown or malformed, said in `err` (may be NULL); `settings` is then unchanged. */
int wal_settings_parse(struct wal_settings *settings, const char *text, size_t len, struct wal_err *err);

/* Writes the settings as such lines, every key once, into buf. Returns the length without the final NUL, as
 * snprintf does: larger than or equal to `size` means cut. */
int wal_settings_format(const struct wal_settings *settings, char *buf, size_t size);

/* The store's defaults. Setting them is durable when it returns. */
int wal_store_get_settings(struct wal_store *store, struct wal_settings *ret_settings);
int wal_store_set_settings(struct wal_store *store, const struct wal_settings *settings);

/* ---- keys -------------------------------------------------------------------------------------------- */

/* Key <-> file name: '/', '%', a leading '.', bytes below 0x20 and 0x7f are %XX in capital hex; all else is as
 * it is. A bijection: -EINVAL for a name that is not the spelling that wal_key_to_name gives. -EMSGSIZE: the
 * name does not fit WAL_NAME_MAX. Buffers: name WAL_NAME_MAX + 1, key WAL_KEY_MAX + 1; both NUL-terminated.
 * Return the length. "lost+found" is -EINVAL as a name and as a key: file systems use it. */
int wal_key_to_name(struct wal_span key, char name[WAL_NAME_MAX + 1]);
int wal_key_from_name(const char *name, char key[WAL_KEY_MAX + 1]);

/* The keys of a store, in no particular order. A cookie names the position after a key and may be sought to
 * at any time, also with another wal_keys; 0 is the start. Keys made or removed meanwhile may be seen or not.
 * next returns 1 with the key (borrowed until the next call), 0 at the end.
 * Threads: one at a time per wal_keys. */
int wal_keys_open(struct wal_store *store, struct wal_keys **ret_keys);
int wal_keys_next(struct wal_keys *keys, struct wal_span *ret_key, uint64_t *ret_cookie);
int wal_keys_seek(struct wal_keys *keys, uint64_t cookie);
void wal_keys_close(struct wal_keys *keys);

/* ---- streams ----------------------------------------------------------------------------------------- */

struct wal_attr {
	uint32_t uid, gid;
	uint32_t mode; /* permission bits, 07777 */
};

/* Makes a stream. In a durable stream it is durable when the call returns. -EEXIST. Give the handle back with
 * wal_stream_unref. */
int wal_stream_create(struct wal_store *store, struct wal_span key, const struct wal_attr *attr,
		      const struct wal_settings *settings, struct wal_stream **ret_stream);

/* Finds a stream. -ENOENT. Does not recover it. */
int wal_stream_open(struct wal_store *store, struct wal_span key, struct wal_stream **ret_stream);

struct wal_stream *wal_stream_ref(struct wal_stream *stream);
void wal_stream_unref(struct wal_stream *stream); /* NULL is allowed */

/* The stream's id: 1..WAL_STREAM_ID_MAX, kept in the store, never used for another stream. Never fails. */
uint64_t wal_stream_id(const struct wal_stream *stream);

/* The stream's key, which a rename may have changed. Copies at most WAL_KEY_MAX + 1 bytes, NUL-terminated;
 * returns the length. */
int wal_stream_key(struct wal_stream *stream, char key[WAL_KEY_MAX + 1]);

struct wal_stat {
	uint64_t id;
	struct wal_attr attr;
	uint64_t first;      /* oldest record; first == next when there is none */
	uint64_t next;       /* the number that the next record gets */
	uint64_t end_pos;    /* position of that one: see wal_tell */
	uint64_t bytes;      /* header and content bytes of the records first..next-1, about: whole segments */
	uint64_t disk_bytes; /* length of the segment files */
	uint32_t segments;
	bool durable; /* appends are durable */
	bool recovered; /* it was used since the store was opened; false: only id, attr, last_time_ns and durable are set */
	bool stopped;         /* no more appends until the store is opened again */
	uint64_t damaged;     /* damaged records met */
	uint64_t synced;      /* all records before it are on disk; `next`, where it is durable */
	uint64_t waits;       /* readers that wait for a record; set also where it is not recovered */
	int64_t created_ns;   /* when its oldest segment was made */
	int64_t last_time_ns; /* commit time of the newest record; while not recovered, or with no record, an
				 approximation: the time of the newest segment file */
};

/* Figures of a stream. WAL_STAT_CHEAP never recovers the stream: `recovered` may be false then; and it never waits, nor does
 * any stat of a stream that was recovered. WAL_NOWAIT: -EAGAIN where it was not. */
#define WAL_STAT_CHEAP 2u
int wal_stream_stat(struct wal_stream *stream, uint32_t flags, struct wal_stat *ret_stat);

/* Changes owner and mode; durable when it returns in a durable stream. The whole of attr is set. */
int wal_stream_set_attr(struct wal_stream *stream, const struct wal_attr *attr);

/* Never waits. */
int wal_stream_get_settings(struct wal_stream *stream, struct wal_settings *ret_settings);
/* A change from relaxed to durable makes all earlier records durable first. */
int wal_stream_set_settings(struct wal_stream *stream, const struct wal_settings *settings);

/* -EEXIST where the new key is taken. Open handles follow. Durable when it returns in a durable stream. */
int wal_stream_rename(struct wal_stream *stream, struct wal_span new_key);

/* Deletes the stream, durably. -ENOTEMPTY while it has records, unless WAL_DELETE_RECORDS. Handles stay valid:
 * every call on them is -EIDRM; open records can be read to their end. */
#define WAL_DELETE_RECORDS 1u
int wal_stream_delete(struct wal_stream *stream, uint32_t flags);

/* ---- appending --------------------------------------------------------------------------------------- */

struct wal_entry {
	struct wal_span header;
	struct wal_span content;
};

#define WAL_APPEND_DURABLE 1u  /* durable also in a relaxed stream, and with it all earlier records of it */
#define WAL_APPEND_RESERVED 2u /* the space was reserved with wal_reserve; the append gives it back itself */
#define WAL_APPEND_NOWAIT 4u   /* wal_append_submit: -EAGAIN rather than wait for the disk in the calling thread */

/* A request to append. The struct and all that it points to are the caller's, and must stay unchanged until it
 * is done. Zero it first: unused members are 0. */
struct wal_append {
	/* in */
	/* n records: all or none, also after a crash. More than one: at most WAL_BATCH_RECORDS_MAX, and together, with 36 bytes and
	 * their sums each, at most 64 MiB: -EMSGSIZE. What is more than an eighth of the journal costs a sync of its own. */
	const struct wal_entry *entries;
	uint32_t n;
	uint32_t flags;          /* WAL_APPEND_... */
	uint64_t expect;         /* the number the first one must get, or 0: any. -ESTALE otherwise */
	uint64_t reserved_bytes; /* with WAL_APPEND_RESERVED: how much was reserved */
	struct wal_draft *draft; /* instead of entries and n: this one record. On success it is consumed */
	void (*done)(struct wal_append *req, int result); /* NULL only in wal_append */
	void *arg;                                        /* for done */
	/* out, set before done is called or 1 is returned */
	uint64_t seq;    /* the number of the first record */
	int64_t time_ns; /* the commit time of all of them */
	/* the library's */
	struct wal_append *next;
	struct wal_stream *stream;
	uint64_t priv[8];
};

/* Submits a request. Returns 1: done already (committed; `done` is not called). 0: `done` will be called once,
 * from another thread or from this one before the call returns; it must not block. Negative: not submitted, nothing
 * happened, `done` is not called. In a durable stream the record is on disk before `done`, and before any
 * reader sees it. The call itself may wait for the disk where the stream must first be recovered, where a draft
 * or a batch of more than an eighth of the journal or WAL_APPEND_DURABLE in a relaxed stream asks for a sync of the segment, where
 * another one does so in this stream, or where the journal is full;
 * WAL_APPEND_NOWAIT makes that -EAGAIN. -EMSGSIZE, -ESTALE, -EROFS, -ENOSPC, -EIDRM. */
int wal_append_submit(struct wal_stream *stream, struct wal_append *req);

/* Submits and waits; `done` and `arg` are ignored. Returns 0. */
int wal_append(struct wal_stream *stream, struct wal_append *req);

/* Reserves space for `bytes` more bytes of content, so that a later append does not fail for want of space. Who reserved gives it
 * back, all of it and once: with wal_release; or with WAL_APPEND_RESERVED, by which the library does so when the append
 * succeeds. After an append that failed, at once or through `done`, it is still reserved, and the caller's to give back.
 * -ENOSPC, -EDQUOT, -EFBIG (no file is so large), -EROFS (stopped), -EIDRM. With WAL_NOWAIT: -EAGAIN where the disk must be waited for. */
int wal_reserve(struct wal_stream *stream, uint64_t bytes, uint32_t flags);
void wal_release(struct wal_stream *stream, uint64_t bytes);

/* Would an append to this stream be refused at once? 0, -EROFS, -EIDRM. Never waits. */
int wal_append_check(struct wal_stream *stream);

/* The largest content that this stream takes, in bytes. Never waits. */
uint64_t wal_max_record(struct wal_stream *stream);

/* A record whose content is written piece by piece, straight to disk, for contents over a few MiB. It becomes a
 * record when a wal_append with it succeeds; until then, or after wal_draft_abort or a crash, it is nothing.
 * The header is copied. Threads: one at a time per draft. All of these may wait for the disk. */
int wal_draft_open(struct wal_stream *stream, struct wal_span header, struct wal_draft **ret_draft);
int wal_draft_write(struct wal_draft *draft, const void *buf, size_t len); /* at its end; -EMSGSIZE, -ENOSPC */
uint64_t wal_draft_len(const struct wal_draft *draft);
void wal_draft_abort(struct wal_draft *draft); /* NULL is allowed */

/* Makes every record of the stream that is committed now durable. Waits for the disk. */
int wal_stream_sync(struct wal_stream *stream);

/* ---- reading ----------------------------------------------------------------------------------------- */

struct wal_info {
	uint64_t seq;
	int64_t time_ns; /* commit time */
	uint64_t content_len;
	uint32_t header_len;
};

/* What is known of a record without reading it. -ENOENT not there yet, -EIDRM trimmed, -EBADMSG, -EAGAIN. */
int wal_record_info(struct wal_stream *stream, uint64_t seq, uint32_t flags, struct wal_info *ret_info);

/* Opens a record: as above, and it then stays readable when it is trimmed. Close with wal_record_close. */
int wal_record_open(struct wal_stream *stream, uint64_t seq, uint32_t flags, struct wal_record **ret_record);
const struct wal_info *wal_record_get_info(const struct wal_record *record); /* borrowed until close */
/* Read up to `len` bytes of content, or of header, from `off` on. Returns the number of bytes, 0 at the end.
 * Every byte returned was checked against its checksum: -EBADMSG. */
ssize_t wal_record_read(struct wal_record *record, uint64_t off, void *buf, size_t len, uint32_t flags);
ssize_t wal_record_read_header(struct wal_record *record, uint64_t off, void *buf, size_t len, uint32_t flags);
void wal_record_close(struct wal_record *record); /* NULL is allowed */

/* The same in one call, with nothing allocated. */
ssize_t wal_read(struct wal_stream *stream, uint64_t seq, uint64_t off, void *buf, size_t len, uint32_t flags);
ssize_t wal_read_header(struct wal_stream *stream, uint64_t seq, uint64_t off, void *buf, size_t len, uint32_t flags);

/* The first record committed at or after `time_ns`. -ENOENT where there is none. Waits for the disk. */
int wal_find_time(struct wal_stream *stream, int64_t time_ns, uint64_t *ret_seq);

/* Positions: where a byte stands in the contents of all records of a stream, one after another. The contents from record a
 * up to record b are the bytes wal_tell(a)..wal_tell(b) - 1, to be read by wal_read_range from any byte on. A position
 * stays the same for good: trims, other processes and a reopened store do not change it, nor is anything kept in memory for
 * it. (Only where a power loss takes the newest records of a relaxed stream, and numbers are given anew, so are
 * positions.) They do not begin at 0: take the difference to the first record that you count.
 *
 * Damage: the content of a record whose frame can be read counts as that says. Others have what the positions around them
 * leave for them together; where those are not known either, what there is room for, and never less than a byte. The first
 * of them has it all. So what is not damaged does not move, and a reader comes to a byte that is -EBADMSG before it
 * comes to what is behind.
 *
 * All three take a time that does not grow with the stream: a search, and a look at some 4 KiB; but the first of them
 * reads heads of segments (as many as there are halvings), and the index of a segment the first time it is in it.
 *
 * wal_tell: the position of record `seq`, or of the next one. -ENOENT beyond, -EIDRM.
 * wal_locate: the record that has the byte, and which byte of its content it is. -ENOENT at the end, -EIDRM. */
int wal_tell(struct wal_stream *stream, uint64_t seq, uint32_t flags, uint64_t *ret_pos);
int wal_locate(struct wal_stream *stream, uint64_t pos, uint32_t flags, uint64_t *ret_seq, uint64_t *ret_off);
/* Reads contents from byte `pos` on, over as many records as there are, and returns how many bytes; 0 at the end. Less than
 * `len` means that the end of what is committed was reached, or that what follows is damaged, was trimmed or must be
 * waited for: a call for it says so. Every byte returned was checked. -EBADMSG, -EIDRM, -EAGAIN. */
ssize_t wal_read_range(struct wal_stream *stream, uint64_t pos, void *buf, size_t len, uint32_t flags);

/* Iterates from record `seq` on (0: the oldest). With WAL_ITER_INFO no header or content is read. next returns
 * 1 with a record; 0 where there is none yet (call again later); -EBADMSG with ret_view->info.seq set for a
 * damaged one, and the next call goes on behind it; -EIDRM with ret_view->info.seq set to the oldest record left
 * where a trim overtook it, and the next call goes on there. `header` and `content` are borrowed until the next call;
 * content.base is NULL where content_len exceeds WAL_ITER_CONTENT_MAX: use wal_read.
 * Threads: one at a time per iterator. */
#define WAL_ITER_INFO 4u
#define WAL_ITER_CONTENT_MAX (1024 * 1024)
struct wal_view {
	struct wal_info info;
	struct wal_span header;
	struct wal_span content;
};
int wal_iter_open(struct wal_stream *stream, uint64_t seq, uint32_t flags, struct wal_iter **ret_iter);
int wal_iter_next(struct wal_iter *iter, struct wal_view *ret_view);
int wal_iter_seek(struct wal_iter *iter, uint64_t seq);
void wal_iter_close(struct wal_iter *iter); /* NULL is allowed */

/* Waiting for a record. The struct is the caller's until done is called, or until wal_wait_cancel returned 0. */
struct wal_wait {
	/* in */
	uint64_t seq;                                    /* done when record `seq` can be read */
	void (*done)(struct wal_wait *wait, int result); /* 0, or -EIDRM: the stream was deleted. Must not block */
	void *arg;
	/* the library's */
	struct wal_wait *next, **prev;
	struct wal_stream *stream;
};
/* Returns 1 where it is there already (`done` is not called), 0 where `done` will be called, or an error. Waits for the disk
 * only where the stream must be recovered, which it is once wal_stream_stat says so. */
int wal_wait_submit(struct wal_stream *stream, struct wal_wait *wait);
/* 0: cancelled, `done` is not called. -ENOENT: it was called, or is being called. */
int wal_wait_cancel(struct wal_wait *wait);
/* Waits at most timeout_ns; negative: for ever. -ETIMEDOUT. */
int wal_wait(struct wal_stream *stream, uint64_t seq, int64_t timeout_ns);

/* ---- removing ---------------------------------------------------------------------------------------- */

/* Removes the records before `first`; numbers stay used. Relaxed: a power loss may bring them back, unless
 * WAL_TRIM_DURABLE. Space comes back by whole segments. -EINVAL where first is beyond the next record. */
#define WAL_TRIM_DURABLE 1u
int wal_trim(struct wal_stream *stream, uint64_t first, uint32_t flags);

/* Applies the stream's retention now. Returns the number of segments removed. The store does so by itself: about every
 * tenth of a period for the age, and for bytes and records whenever a segment is full; a segment is full when it holds a
 * tenth of what is kept, so that at most about a tenth more stays. Never earlier than asked, also when the clock jumps
 * ahead while the store is open; what a wrong clock says at the opening is believed. */
int wal_retain(struct wal_stream *stream);

/* ---- checking ---------------------------------------------------------------------------------------- */

struct wal_verify {
	wal_trouble_fn *found; /* may be NULL */
	void *arg;
	/* out */
	uint64_t streams, segments, records, bytes; /* looked at */
	uint64_t damaged;                           /* findings */
	uint64_t torn;                              /* tails that recovery would cut: no damage */
};

/* Reads everything of the store, or of one stream, checks it, and changes nothing. Returns 0 whether or not something
 * was found. Works on a store in use and on one opened read-only; a tail that is being written is not damage. */
int wal_store_verify(struct wal_store *store, struct wal_verify *verify);
int wal_stream_verify(struct wal_stream *stream, struct wal_verify *verify);

/* The name of a fixed-meaning error, such as "record is damaged", else strerror's text. Never NULL. */
const char *wal_strerror(int code);
const char *wal_version(void);

#ifdef __cplusplus
}
#endif
#endif
