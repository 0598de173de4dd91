/* SPDX-License-Identifier: MIT
 *
 * An open append file: the record that it collects, its commit, and the answer to the request that led to it.
 * Invariants: what is pending is one record and becomes one, or nothing; the turn ends before the reply, which lets the
 * next request come. When a record begins and ends is not decided here but in append.c.
 *
 * Threads: of the request that has its turn (turn.h), unless said otherwise.
 */
#ifndef WALFS_APPENDER_H
#define WALFS_APPENDER_H

#include "await.h"
#include "call.h"
#include "opener.h"
#include "turn.h"
#include "walfs.h"

enum walfs_answer_kind { WALFS_ANSWER_DONE, WALFS_ANSWER_WRITE, WALFS_ANSWER_ATTR, WALFS_ANSWER_RELEASE };

/* What is known of a message: msg.c. */
enum walfs_msg_state {
	WALFS_MSG_NONE,    /* nothing was written */
	WALFS_MSG_HEAD,    /* no empty line yet: all is in `header` */
	WALFS_MSG_CONTENT, /* `header` is the header, and what comes is content */
	WALFS_MSG_PLAIN,   /* there is no header, and too much for one: no empty line may come */
};

/* What is owed to the kernel once the commit is done. */
struct walfs_answer {
	fuse_req_t req;
	enum walfs_answer_kind kind;
	enum walfs_sense sense;
	size_t written;
	size_t partial; /* of a write: so much is committed, and is the answer, should the rest of it fail */
};

struct walfs_appender {
	struct walfs_file file;
	struct walfs *fs;          /* immutable */
	struct walfs_inode *inode; /* immutable, referenced */
	enum walfs_kind kind;      /* immutable */
	uint64_t ino;              /* immutable: st_ino, as /proc shows it */
	uint64_t expect;           /* immutable: the number that the record must get; 0: any */

	struct walfs_appender *other_prev, *other_next; /* guarded by inode->lock: the other appenders of the stream */
	atomic_uint_least64_t pos;                      /* the file position that the last write left */

	struct walfs_turns turns;
	atomic_bool lost; /* a write could not queue */

	/* Of the request that has its turn. */
	struct walfs_opener opener;
	uint64_t stamp;     /* of the open: headers staged before it may be taken */
	bool flushed_first; /* a flush came with nothing pending */
	bool header_asked;  /* the first write was, and took the staged header if there was one */
	bool packet_begun;  /* some of the pending bytes are of the WRITE that has its turn */
	bool packet;        /* the pending bytes are those of the WRITE that has its turn */
	bool counted;       /* in inode->writing */
	bool durable;       /* line.c's: the unfinished line is of an O_SYNC or O_DSYNC write */
	struct walfs_closing closing;
	int spoiled;  /* the error that spoiled the record, or 0 */
	void *header; /* owned */
	size_t header_len;
	size_t header_held; /* what is taken of the user for it */
	enum walfs_msg_state msg;
	bool newline; /* WALFS_MSG_PLAIN: the last byte was one */
	uint64_t end; /* the file offset at which the next write belongs */
	struct walfs_pending pending;
	struct walfs_lines *lines; /* line.c's: a write that is being committed; owned */
	struct wal_append req;
	struct wal_entry entry;
	struct walfs_answer answer;
};

/* A fresh one for a node of the stream, in an OPEN or CREATE. -ENOMEM. Nothing is replied. */
int walfs_appender_open(struct walfs_call *call, struct walfs_inode *inode, const struct walfs_node *node,
			const struct walfs_file_ops *ops, struct walfs_appender **ret_file);

/* Drops what is pending, and frees. */
void walfs_appender_close(struct walfs_appender *file);

struct walfs_answer walfs_answer_of(const struct walfs_call *call, enum walfs_answer_kind kind);

/* Ends the turn and replies: with the error, or as the answer says. The file may be gone afterwards. Returns 0. */
int walfs_appender_finish(struct walfs_appender *file, const struct walfs_answer *answer, int err);

/* A write begins, or goes on with, the record: who it is, and the header staged for it. */
void walfs_appender_note_writer(struct walfs_call *call, struct walfs_appender *file);

/* The same of one who wrote before, and took no header. */
void walfs_appender_note(struct walfs_appender *file, pid_t pid, uint64_t owner);

/* The write stands where the last one ended: zeros are added for a hole. -ESPIPE where it goes back. */
int walfs_appender_place(struct walfs_call *call, struct walfs_appender *file);

/* Adds n bytes to the record; zeros where data is NULL. The errors of walfs_pending_add. */
int walfs_appender_add(struct walfs_call *call, struct walfs_appender *file, const void *data, uint64_t n);

/* Is there a record, or the beginning of one? */
bool walfs_appender_has_record(const struct walfs_appender *file);

void walfs_appender_free_header(struct walfs_appender *file);

/* Nothing is pending any more, whatever became of it. */
void walfs_appender_end_record(struct walfs_appender *file);

/* What is pending is dropped. May wait for the disk where there is a draft. */
void walfs_appender_drop(struct walfs_appender *file);

/* The record cannot become whole any more: drops it, and finishes with the error, as all do that come up to its end.
 * -EAGAIN where a draft is to be removed, which takes a while. */
int walfs_appender_spoil(struct walfs_call *call, struct walfs_appender *file, const struct walfs_answer *answer,
			 int err);

/* Commits what is pending, and finishes. In the loop -EAGAIN where that would wait. `flags` as in struct wal_append. */
int walfs_appender_commit(struct walfs_call *call, struct walfs_appender *file, enum walfs_answer_kind kind,
			  uint32_t flags);

/* The same for a request that line.c has filled in: `req` and `lines` of the file. */
int walfs_appender_submit(struct walfs_call *call, struct walfs_appender *file, const struct walfs_answer *answer);
void walfs_appender_request(struct walfs_appender *file, uint32_t flags);

/* The same without an answer. Waits for the disk. */
int walfs_appender_commit_now(struct walfs_appender *file, uint32_t flags);

/* Has the process another descriptor of this open file? As walfs_process_holds. */
int walfs_appender_held(const struct walfs_appender *file, pid_t pid, unsigned look_max);

/* A record was not committed. */
void walfs_appender_log_failure(const struct walfs_appender *file, int result);

#endif
