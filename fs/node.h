/* SPDX-License-Identifier: MIT
 *
 * Nodes: what can be named in a mount, its 64-bit number, its spelling, and how long the kernel may keep it.
 * Invariant: walfs_node_id and walfs_node_from_id are inverse; two different nodes never share a number. Pure: no
 * state, no system calls. The essay on the numbers heads node.c.
 *
 * Threads: any.
 */
#ifndef WALFS_NODE_H
#define WALFS_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WALFS_NODE_NAME_MAX 255
#define WALFS_DIGITS_MAX 20

/* The fixed kinds are also the low local values of node numbers: a number that is given away is never given anew. */
enum walfs_kind {
	WALFS_STREAM = 1, /* the directory itself; of stream 0 it is the root */
	WALFS_APPEND = 2,
	WALFS_APPEND_LINE = 3, /* in its place here; numbered by lookup */
	WALFS_APPEND_MSG = 4,
	WALFS_APPEND_HDR = 5, /* in its place here; numbered by user */
	WALFS_FIRST = 6,
	WALFS_LAST = 7,
	WALFS_STAT = 8,
	WALFS_CONFIG = 9,
	/* Found by name, never listed. */
	WALFS_FOLLOW = 10,
	WALFS_NEW_FOLLOW = 11,
	WALFS_AT = 12,         /* a directory of which every TIME is a name */
	WALFS_KIND_FIXED = 32, /* local values below this are fixed kinds */

	/* Of stream 0, less WALFS_STORE_BASE. */
	WALFS_STORE_BASE = 32,
	WALFS_ROOT = 33,
	WALFS_CONTROL_DIR = 34,
	WALFS_VERSION = 35,
	WALFS_STATUS = 36,
	WALFS_STATS = 37,
	WALFS_METRICS = 38,
	WALFS_STORE_CONFIG = 39,
	WALFS_SYNC = 40,

	WALFS_RECORD = 48,
	WALFS_SIDECAR = 49,

	/* Of a stream, found by name, never listed; numbers of their own (node.c). */
	WALFS_MSG = 50,       /* N.msg */
	WALFS_FROM = 51,      /* N.follow */
	WALFS_ALL = 52,       /* all, of which record `seq` is the oldest */
	WALFS_AT_LINK = 53,   /* in at/: TIME */
	WALFS_AT_FOLLOW = 54, /* in at/: TIME.follow; seq 0 leads to new.follow */
	WALFS_CREATION = 55,  /* a file that may become the next record */
	WALFS_NEXT_HDR = 56,  /* the header that a user staged for the next record, N.hdr */
	WALFS_KIND_COUNT = 57,
};

struct walfs_node {
	enum walfs_kind kind;
	uint64_t stream; /* id, 0 for the kinds of the store */
	uint64_t seq;    /* RECORD, SIDECAR, MSG, FROM, ALL, AT_LINK, AT_FOLLOW */
	uint32_t uid;    /* APPEND_HDR, NEXT_HDR */
	uint32_t token;  /* APPEND_LINE, CREATION: counts lookups; 0: in a listing */
};

/* How the kernel may cache a kind. */
struct walfs_caching {
	double entry_s; /* for the listed spelling of a name; 0 for any other */
	double attr_s;
	bool direct_io;
	bool keep_cache;
};

/* The number of a node. 0 is returned where a record's number does not fit (walfs_node_fits). */
uint64_t walfs_node_id(const struct walfs_node *node);
bool walfs_node_fits(enum walfs_kind kind, uint64_t seq);

/* What stat(2) and listings show: the same, but that append.hdr and append.line have the number of their place. */
uint64_t walfs_node_ino(const struct walfs_node *node);

/* The node of a number. -ESTALE for a number that no node has. */
int walfs_node_from_id(uint64_t id, struct walfs_node *ret_node);

/* The id of the stream that a number belongs to; 0 for nodes of the store. */
uint64_t walfs_node_stream(uint64_t id);

/* Finds `name` in the directory `dir` (STREAM or CONTROL_DIR; the names in the root are keys and belong to the
 * store, those in at/ are times). `uid` is whose append.hdr is meant. *ret_listed: the name is the spelling that a
 * listing shows. -ENOENT, -EOVERFLOW. Whether a record of that number exists is not looked at. seq of ALL is 0. */
int walfs_node_parse(const struct walfs_node *dir, const char *name, uint32_t uid, unsigned digits,
		     struct walfs_node *ret_node, bool *ret_listed);

/* Writes the listed spelling of a node's name in its directory. Returns its length. Not for STREAM and ROOT. */
int walfs_node_name(const struct walfs_node *node, unsigned digits, char name[WALFS_NODE_NAME_MAX + 1]);

/* The fixed names of a directory in listing order: the node with the smallest local value of at least `local`.
 * False behind the last one. */
bool walfs_node_fixed(const struct walfs_node *dir, uint32_t uid, uint64_t local, struct walfs_node *ret_node);

/* The place of a node in its directory: listing order is the order of this value, and a directory offset of `local`
 * + 1 goes on behind the node. */
uint64_t walfs_node_local(const struct walfs_node *node);

/* The record that a listing meets first from place `local` on, and whether its sidecar has been passed. */
uint64_t walfs_node_local_seq(uint64_t local, bool *ret_sidecar_passed);

const struct walfs_caching *walfs_node_caching(enum walfs_kind kind);
bool walfs_kind_is_dir(enum walfs_kind kind);
bool walfs_kind_is_link(enum walfs_kind kind);

#endif
