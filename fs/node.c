/* SPDX-License-Identifier: MIT
 *
 * Node numbers. The kernel names a node by 64 bits, and users see the same number as st_ino. Ours are computed, so
 * that no table grows with records, and they are the same after a restart.
 *
 *      63        62 ......... 37  36 ................... 1   0
 *     +---+----------------------+------------------------+---+
 *     | 0 | stream id (26)       | field (36)             | R |   local = field << 1 | R, 37 bits
 *     +---+----------------------+------------------------+---+
 *     | 1 | stream id (26)       | tag (5) | uid (32)         |
 *     +---+----------------------+----------------------------+
 *
 *   local 0..31   fixed kinds: the stream directory is 1, then append, first, ... in enum walfs_kind's order
 *   field s + 16  record s: R = 1 is the record, R = 0 its sidecar s.hdr
 *   stream id 0   the store: local 1 is the root, which FUSE wants to be number 1, then .walfs and its files
 *   bit 63        a node that a user has for himself: append.hdr is tag 0; the other tags are free. As st_ino it has its
 *                 place among the fixed names, whoever looks: the order below holds for it too
 *
 * Stream ids are 1 to 2^26 - 1 and never used again (walcore), so a number never means two things. The limits that
 * follow: 67 million streams ever created, records up to number 2^36 - 17 (68 thousand million) in each; a record
 * beyond is EOVERFLOW. Within a directory the order of numbers is the order of the listing: fixed names, then N.hdr, N,
 * (N+1).hdr, ... `rm -r` sorts by number, and so trims from the oldest on.
 */
#include "node.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define STREAM_SHIFT 37
#define STREAM_MASK ((UINT64_C(1) << 26) - 1)
#define LOCAL_MASK ((UINT64_C(1) << STREAM_SHIFT) - 1)
#define USER_BIT (UINT64_C(1) << 63)
#define TAG_SHIFT 32
#define TAG_MASK UINT64_C(31)
#define FIELD_FIRST 16
#define SEQ_MAX ((UINT64_C(1) << 36) - 1 - FIELD_FIRST)

static_assert(FIELD_FIRST * 2 == WALFS_KIND_FIXED, "records begin where the fixed kinds end");
static_assert(WALFS_ROOT - WALFS_STORE_BASE == 1, "the root is FUSE_ROOT_ID");

struct fixed_name {
	const char *name;
	enum walfs_kind kind;
};

/* In the order of their local values. */
static const struct fixed_name stream_names[] = {
	{ "append", WALFS_APPEND }, { "append.hdr", WALFS_APPEND_HDR },
	{ "first", WALFS_FIRST },   { "last", WALFS_LAST },
	{ ".stat", WALFS_STAT },    { ".config", WALFS_CONFIG },
};

static const struct fixed_name control_names[] = {
	{ "version", WALFS_VERSION },     { "status", WALFS_STATUS }, { "stats", WALFS_STATS },
	{ "config", WALFS_STORE_CONFIG }, { "sync", WALFS_SYNC },
};

/* The one table of what the kernel may keep. Entries and attributes live a second where what they say is either
 * immutable (records) or told to the kernel when it changes (notify.c). What shows the state of this moment is never
 * kept. append.hdr is another node for each user, so its name is never kept. */
static const struct walfs_caching caching[WALFS_KIND_COUNT] = {
	[WALFS_ROOT] = { 1.0, 1.0, false, false },        [WALFS_STREAM] = { 1.0, 1.0, false, false },
	[WALFS_APPEND] = { 1.0, 1.0, true, false },       [WALFS_APPEND_HDR] = { 0.0, 0.0, true, false },
	[WALFS_FIRST] = { 0.0, 0.0, false, false },       [WALFS_LAST] = { 0.0, 0.0, false, false },
	[WALFS_STAT] = { 0.0, 0.0, true, false },         [WALFS_CONFIG] = { 0.0, 0.0, true, false },
	[WALFS_CONTROL_DIR] = { 0.0, 0.0, false, false }, [WALFS_VERSION] = { 0.0, 0.0, true, false },
	[WALFS_STATUS] = { 0.0, 0.0, true, false },       [WALFS_STATS] = { 0.0, 0.0, true, false },
	[WALFS_STORE_CONFIG] = { 0.0, 0.0, true, false }, [WALFS_SYNC] = { 0.0, 0.0, true, false },
	[WALFS_RECORD] = { 1.0, 1.0, false, true },       [WALFS_SIDECAR] = { 1.0, 1.0, false, true },
};

static const struct fixed_name *fixed_names(enum walfs_kind dir, size_t *ret_n)
{
	if (dir == WALFS_CONTROL_DIR) {
		*ret_n = sizeof(control_names) / sizeof(control_names[0]);
		return control_names;
	}
	assert(dir == WALFS_STREAM);
	*ret_n = sizeof(stream_names) / sizeof(stream_names[0]);
	return stream_names;
}

static bool is_record(enum walfs_kind kind)
{
	return kind == WALFS_RECORD || kind == WALFS_SIDECAR;
}

bool walfs_kind_is_dir(enum walfs_kind kind)
{
	return kind == WALFS_ROOT || kind == WALFS_CONTROL_DIR || kind == WALFS_STREAM;
}

bool walfs_kind_is_link(enum walfs_kind kind)
{
	return kind == WALFS_FIRST || kind == WALFS_LAST;
}

const struct walfs_caching *walfs_node_caching(enum walfs_kind kind)
{
	assert(kind < WALFS_KIND_COUNT);
	return &caching[kind];
}

bool walfs_node_fits(uint64_t seq)
{
	return seq >= 1 && seq <= SEQ_MAX;
}

uint64_t walfs_node_local(const struct walfs_node *node)
{
	if (is_record(node->kind))
		return (node->seq + FIELD_FIRST) << 1 | (node->kind == WALFS_RECORD);
	return node->kind < WALFS_KIND_FIXED ? node->kind : node->kind - WALFS_STORE_BASE;
}

uint64_t walfs_node_local_seq(uint64_t local, bool *ret_sidecar_passed)
{
	if (local < WALFS_KIND_FIXED) {
		*ret_sidecar_passed = false;
		return 0;
	}
	*ret_sidecar_passed = local & 1;
	return (local >> 1) - FIELD_FIRST;
}

uint64_t walfs_node_id(const struct walfs_node *node)
{
	if (is_record(node->kind) && !walfs_node_fits(node->seq))
		return 0;
	assert(node->stream <= STREAM_MASK);
	uint64_t stream = node->stream << STREAM_SHIFT;
	if (node->kind == WALFS_APPEND_HDR)
		return USER_BIT | stream | node->uid;
	return stream | walfs_node_local(node);
}

uint64_t walfs_node_ino(const struct walfs_node *node)
{
	if (node->kind == WALFS_APPEND_HDR)
		return node->stream << STREAM_SHIFT | walfs_node_local(node);
	return walfs_node_id(node);
}

uint64_t walfs_node_stream(uint64_t id)
{
	return id >> STREAM_SHIFT & STREAM_MASK;
}

static bool fixed_kind_exists(enum walfs_kind dir, enum walfs_kind kind)
{
	size_t n;
	const struct fixed_name *names = fixed_names(dir, &n);
	for (size_t i = 0; i < n; i++)
		if (names[i].kind == kind)
			return true;
	return false;
}

int walfs_node_from_id(uint64_t id, struct walfs_node *ret_node)
{
	struct walfs_node node = { .stream = walfs_node_stream(id) };
	uint64_t local = id & LOCAL_MASK;

	if (id & USER_BIT) {
		if (node.stream == 0 || (id >> TAG_SHIFT & TAG_MASK) != 0)
			return -ESTALE;
		node.kind = WALFS_APPEND_HDR;
		node.uid = (uint32_t)id;
	} else if (node.stream == 0) {
		node.kind = (enum walfs_kind)(WALFS_STORE_BASE + local);
		if (local >= WALFS_RECORD - WALFS_STORE_BASE)
			return -ESTALE;
		if (node.kind != WALFS_ROOT && node.kind != WALFS_CONTROL_DIR &&
		    !fixed_kind_exists(WALFS_CONTROL_DIR, node.kind))
			return -ESTALE;
	} else if (local < WALFS_KIND_FIXED) {
		node.kind = (enum walfs_kind)local;
		if (node.kind == WALFS_APPEND_HDR)
			return -ESTALE;
		if (node.kind != WALFS_STREAM && !fixed_kind_exists(WALFS_STREAM, node.kind))
			return -ESTALE;
	} else {
		node.kind = local & 1 ? WALFS_RECORD : WALFS_SIDECAR;
		node.seq = (local >> 1) - FIELD_FIRST;
		if (node.seq == 0)
			return -ESTALE;
	}
	*ret_node = node;
	return 0;
}

/* Reads decimal digits, however many zeros lead them. Returns how many characters they take, 0 for none, and sets
 * *ret_seq to 0 where the number is too large for 64 bits: no record has it. */
static size_t parse_seq(const char *name, uint64_t *ret_seq)
{
	uint64_t seq = 0;
	bool over = false;
	size_t i = 0;
	for (; name[i] >= '0' && name[i] <= '9'; i++) {
		uint64_t digit = (uint64_t)(name[i] - '0');
		if (__builtin_mul_overflow(seq, 10, &seq) || __builtin_add_overflow(seq, digit, &seq))
			over = true;
	}
	*ret_seq = over ? 0 : seq;
	return i;
}

static int parse_number(const struct walfs_node *dir, const char *name, unsigned digits, struct walfs_node *ret_node,
			bool *ret_listed)
{
	uint64_t seq;
	size_t n = parse_seq(name, &seq);
	bool sidecar = n > 0 && strcmp(name + n, ".hdr") == 0;
	if (n == 0 || (name[n] != '\0' && !sidecar) || seq == 0)
		return -ENOENT;
	if (!walfs_node_fits(seq))
		return -EOVERFLOW;
	*ret_node = (struct walfs_node){
		.kind = sidecar ? WALFS_SIDECAR : WALFS_RECORD,
		.stream = dir->stream,
		.seq = seq,
	};
	char listed[WALFS_NODE_NAME_MAX + 1];
	(void)walfs_node_name(ret_node, digits, listed); /* only its length is returned */
	*ret_listed = strcmp(listed, name) == 0;
	return 0;
}

int walfs_node_parse(const struct walfs_node *dir, const char *name, uint32_t uid, unsigned digits,
		     struct walfs_node *ret_node, bool *ret_listed)
{
	size_t n;
	if (dir->kind == WALFS_STREAM && name[0] >= '0' && name[0] <= '9')
		return parse_number(dir, name, digits, ret_node, ret_listed);

	const struct fixed_name *names = fixed_names(dir->kind, &n);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(names[i].name, name) != 0)
			continue;
		*ret_node = (struct walfs_node){ .kind = names[i].kind, .stream = dir->stream };
		if (names[i].kind == WALFS_APPEND_HDR)
			ret_node->uid = uid;
		*ret_listed = true;
		return 0;
	}
	return -ENOENT;
}

int walfs_node_name(const struct walfs_node *node, unsigned digits, char name[WALFS_NODE_NAME_MAX + 1])
{
	assert(digits <= WALFS_DIGITS_MAX);
	if (is_record(node->kind))
		return snprintf(name, WALFS_NODE_NAME_MAX + 1, "%0*llu%s", digits ? (int)digits : 1,
				(unsigned long long)node->seq, node->kind == WALFS_SIDECAR ? ".hdr" : "");
	if (node->kind == WALFS_CONTROL_DIR)
		return snprintf(name, WALFS_NODE_NAME_MAX + 1, ".walfs");

	size_t n;
	const struct fixed_name *names = fixed_names(node->stream ? WALFS_STREAM : WALFS_CONTROL_DIR, &n);
	for (size_t i = 0; i < n; i++)
		if (names[i].kind == node->kind)
			return snprintf(name, WALFS_NODE_NAME_MAX + 1, "%s", names[i].name);
	assert(!"a node without a name of its own");
	return 0;
}

bool walfs_node_fixed(const struct walfs_node *dir, uint32_t uid, uint64_t local, struct walfs_node *ret_node)
{
	size_t n;
	const struct fixed_name *names = fixed_names(dir->kind, &n);
	for (size_t i = 0; i < n; i++) {
		struct walfs_node node = { .kind = names[i].kind, .stream = dir->stream };
		if (walfs_node_local(&node) < local)
			continue;
		if (node.kind == WALFS_APPEND_HDR)
			node.uid = uid;
		*ret_node = node;
		return true;
	}
	return false;
}
