/* SPDX-License-Identifier: MIT
 *
 * Node numbers. The kernel names a node by 64 bits, and users see the same number as st_ino. Ours are computed, so
 * that no table grows with records, and they are the same after a restart.
 *
 *      63        62 ......... 37  36 ................... 1   0
 *     +---+----------------------+------------------------+---+
 *     | 0 | stream id (26)       | field (36)             | R |   local = field << 1 | R, 37 bits
 *     +---+----------------------+------------------------+---+
 *     | 1 | stream id (26)       | tag (3) | value (34)     |
 *     +---+----------------------+--------------------------+
 *
 *   local 0..31   fixed kinds: the stream directory is 1, then append, first, ... in enum walfs_kind's order
 *   field s + 16  record s: R = 1 is the record, R = 0 its sidecar s.hdr
 *   stream id 0   the store: local 1 is the root, which FUSE wants to be number 1, then .walfs and its files
 *   bit 63        what is not listed, or is another node for each user or lookup. Of the value
 *       tag 0     the upper two bits are a sub-tag: 0 append.hdr of the user in the lower 32; 1 append.line of the lookup
 *                 that is counted there; 2 a file that may become the next record, counted likewise; 3 the header for the
 *                 next record, whatever its number, of the user there
 *       tag 1..5  the value is the number s of a record: s.msg, s.follow, all from s on, and in at/ the links to s and
 *                 to s.follow
 *                 As st_ino append.hdr and append.line have their places among the fixed names, whoever looks: the
 *                 order below holds for them too
 *
 * Stream ids are 1 to 2^26 - 1 and never used again (walcore), so a number never means two things. The limits that
 * follow: 67 million streams ever created, records up to number 2^36 - 17 (68 thousand million) in each, and of s.msg and
 * its like up to 2^34 - 1 (17 thousand million); what is beyond is EOVERFLOW. Within a directory the order of numbers is the order of the listing: fixed names, then N.hdr, N,
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
#define OTHER_BIT (UINT64_C(1) << 63)
#define TAG_SHIFT 34
#define TAG_MASK UINT64_C(7)
#define VALUE_MASK ((UINT64_C(1) << TAG_SHIFT) - 1)
#define SUB_SHIFT 32
#define FIELD_FIRST 16
#define SEQ_MAX ((UINT64_C(1) << 36) - 1 - FIELD_FIRST)

static_assert(FIELD_FIRST * 2 == WALFS_KIND_FIXED, "records begin where the fixed kinds end");
static_assert(WALFS_ROOT - WALFS_STORE_BASE == 1, "the root is FUSE_ROOT_ID");

/* Tags of numbers with OTHER_BIT. */
enum tag { TAG_SMALL = 0, TAG_MSG, TAG_FROM, TAG_ALL, TAG_AT_LINK, TAG_AT_FOLLOW, TAG_COUNT };
enum sub_tag { SUB_HDR = 0, SUB_LINE, SUB_CREATION, SUB_NEXT_HDR };

static const enum walfs_kind tag_kinds[TAG_COUNT] = { [TAG_MSG] = WALFS_MSG,
						      [TAG_FROM] = WALFS_FROM,
						      [TAG_ALL] = WALFS_ALL,
						      [TAG_AT_LINK] = WALFS_AT_LINK,
						      [TAG_AT_FOLLOW] = WALFS_AT_FOLLOW };
static const enum walfs_kind sub_kinds[] = { [SUB_HDR] = WALFS_APPEND_HDR,
					     [SUB_LINE] = WALFS_APPEND_LINE,
					     [SUB_CREATION] = WALFS_CREATION,
					     [SUB_NEXT_HDR] = WALFS_NEXT_HDR };

struct fixed_name {
	const char *name;
	enum walfs_kind kind;
	bool hidden; /* found by name, not listed */
};

/* In the order of their local values. */
static const struct fixed_name stream_names[] = {
	{ "append", WALFS_APPEND, false },
	{ "append.line", WALFS_APPEND_LINE, false },
	{ "append.msg", WALFS_APPEND_MSG, false },
	{ "append.hdr", WALFS_APPEND_HDR, false },
	{ "first", WALFS_FIRST, false },
	{ "last", WALFS_LAST, false },
	{ ".stat", WALFS_STAT, false },
	{ ".config", WALFS_CONFIG, false },
	{ "follow", WALFS_FOLLOW, true },
	{ "new.follow", WALFS_NEW_FOLLOW, true },
	{ "at", WALFS_AT, true },
	{ "all", WALFS_ALL, true },
};

static const struct fixed_name control_names[] = {
	{ "version", WALFS_VERSION, false }, { "status", WALFS_STATUS, false },       { "stats", WALFS_STATS, false },
	{ "metrics", WALFS_METRICS, false }, { "config", WALFS_STORE_CONFIG, false }, { "sync", WALFS_SYNC, false },
};

/* The one table of what the kernel may keep. Entries and attributes live a second where what they say is either
 * immutable (records) or told to the kernel when it changes (notify.c). What shows the state of this moment is never
 * kept. append.hdr is another node for each user, append.line for each lookup, so their names are never kept; nor are
 * those of what is not listed. */
static const struct walfs_caching caching[WALFS_KIND_COUNT] = {
	[WALFS_ROOT] = { 1.0, 1.0, false, false },        [WALFS_STREAM] = { 1.0, 1.0, false, false },
	[WALFS_APPEND] = { 1.0, 1.0, true, false },       [WALFS_APPEND_HDR] = { 0.0, 0.0, true, false },
	[WALFS_FIRST] = { 0.0, 0.0, false, false },       [WALFS_LAST] = { 0.0, 0.0, false, false },
	[WALFS_STAT] = { 0.0, 0.0, true, false },         [WALFS_CONFIG] = { 0.0, 0.0, true, false },
	[WALFS_CONTROL_DIR] = { 0.0, 0.0, false, false }, [WALFS_VERSION] = { 0.0, 0.0, true, false },
	[WALFS_STATUS] = { 0.0, 0.0, true, false },       [WALFS_STATS] = { 0.0, 0.0, true, false },
	[WALFS_STORE_CONFIG] = { 0.0, 0.0, true, false }, [WALFS_SYNC] = { 0.0, 0.0, true, false },
	[WALFS_RECORD] = { 1.0, 1.0, false, true },       [WALFS_SIDECAR] = { 1.0, 1.0, false, true },
	[WALFS_APPEND_LINE] = { 0.0, 0.0, true, false },  [WALFS_APPEND_MSG] = { 1.0, 1.0, true, false },
	[WALFS_FOLLOW] = { 0.0, 0.0, true, false },       [WALFS_NEW_FOLLOW] = { 0.0, 0.0, true, false },
	[WALFS_FROM] = { 0.0, 0.0, true, false },         [WALFS_ALL] = { 0.0, 0.0, true, false },
	[WALFS_AT] = { 0.0, 0.0, false, false },          [WALFS_AT_LINK] = { 0.0, 0.0, false, false },
	[WALFS_AT_FOLLOW] = { 0.0, 0.0, false, false },   [WALFS_MSG] = { 0.0, 1.0, false, true },
	[WALFS_CREATION] = { 0.0, 0.0, true, false },     [WALFS_NEXT_HDR] = { 0.0, 0.0, true, false },
	[WALFS_METRICS] = { 0.0, 0.0, true, false },
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

static bool is_by_user(enum walfs_kind kind)
{
	return kind == WALFS_APPEND_HDR || kind == WALFS_NEXT_HDR;
}

bool walfs_kind_is_dir(enum walfs_kind kind)
{
	return kind == WALFS_ROOT || kind == WALFS_CONTROL_DIR || kind == WALFS_STREAM || kind == WALFS_AT;
}

bool walfs_kind_is_link(enum walfs_kind kind)
{
	return kind == WALFS_FIRST || kind == WALFS_LAST || kind == WALFS_AT_LINK || kind == WALFS_AT_FOLLOW;
}

const struct walfs_caching *walfs_node_caching(enum walfs_kind kind)
{
	assert(kind < WALFS_KIND_COUNT);
	return &caching[kind];
}

/* The tag of a kind whose value is the number of a record; 0 for the others. */
static enum tag tag_of(enum walfs_kind kind)
{
	for (enum tag tag = TAG_MSG; tag < TAG_COUNT; tag++)
		if (tag_kinds[tag] == kind)
			return tag;
	return TAG_SMALL;
}

bool walfs_node_fits(enum walfs_kind kind, uint64_t seq)
{
	if (tag_of(kind))
		return seq <= VALUE_MASK && (seq >= 1 || kind == WALFS_AT_FOLLOW);
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
	enum tag tag = tag_of(node->kind);
	if ((is_record(node->kind) || tag) && !walfs_node_fits(node->kind, node->seq))
		return 0;
	assert(node->stream <= STREAM_MASK);
	uint64_t stream = node->stream << STREAM_SHIFT;
	if (tag)
		return OTHER_BIT | stream | (uint64_t)tag << TAG_SHIFT | node->seq;
	for (uint64_t sub = 0; sub < sizeof(sub_kinds) / sizeof(sub_kinds[0]); sub++)
		if (sub_kinds[sub] == node->kind)
			return OTHER_BIT | stream | sub << SUB_SHIFT |
			       (is_by_user(node->kind) ? node->uid : node->token);
	return stream | walfs_node_local(node);
}

uint64_t walfs_node_ino(const struct walfs_node *node)
{
	if (node->kind == WALFS_APPEND_HDR || node->kind == WALFS_APPEND_LINE)
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

/* Of a number with OTHER_BIT; the stream is set. */
static int other_from_id(uint64_t id, struct walfs_node *node)
{
	uint64_t tag = id >> TAG_SHIFT & TAG_MASK, value = id & VALUE_MASK;

	if (node->stream == 0 || tag >= TAG_COUNT)
		return -ESTALE;
	if (tag != TAG_SMALL) {
		node->kind = tag_kinds[tag];
		node->seq = value;
		return walfs_node_fits(node->kind, node->seq) ? 0 : -ESTALE;
	}
	node->kind = sub_kinds[value >> SUB_SHIFT];
	if (is_by_user(node->kind))
		node->uid = (uint32_t)value;
	else
		node->token = (uint32_t)value;
	return 0;
}

int walfs_node_from_id(uint64_t id, struct walfs_node *ret_node)
{
	struct walfs_node node = { .stream = walfs_node_stream(id) };
	uint64_t local = id & LOCAL_MASK;

	if (id & OTHER_BIT) {
		if (other_from_id(id, &node) < 0)
			return -ESTALE;
	} else if (node.stream == 0) {
		node.kind = (enum walfs_kind)(WALFS_STORE_BASE + local);
		if (local >= WALFS_RECORD - WALFS_STORE_BASE)
			return -ESTALE;
		if (node.kind != WALFS_ROOT && node.kind != WALFS_CONTROL_DIR &&
		    !fixed_kind_exists(WALFS_CONTROL_DIR, node.kind))
			return -ESTALE;
	} else if (local < WALFS_KIND_FIXED) {
		node.kind = (enum walfs_kind)local;
		if (node.kind == WALFS_APPEND_HDR || node.kind == WALFS_APPEND_LINE)
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

/* The kinds that are named by a number, by what follows it. */
static enum walfs_kind number_kind(const char *suffix)
{
	if (*suffix == '\0')
		return WALFS_RECORD;
	if (strcmp(suffix, ".hdr") == 0)
		return WALFS_SIDECAR;
	if (strcmp(suffix, ".msg") == 0)
		return WALFS_MSG;
	return strcmp(suffix, ".follow") == 0 ? WALFS_FROM : WALFS_KIND_COUNT;
}

static int parse_number(const struct walfs_node *dir, const char *name, unsigned digits, struct walfs_node *ret_node,
			bool *ret_listed)
{
	uint64_t seq;
	size_t n = parse_seq(name, &seq);
	struct walfs_node node = { .kind = number_kind(name + n), .stream = dir->stream, .seq = seq };
	if (node.kind == WALFS_KIND_COUNT || seq == 0)
		return -ENOENT;
	if (!walfs_node_fits(node.kind, seq))
		return -EOVERFLOW;
	char listed[WALFS_NODE_NAME_MAX + 1];
	(void)walfs_node_name(&node, digits, listed); /* only its length is returned */
	*ret_listed = is_record(node.kind) && strcmp(listed, name) == 0;
	*ret_node = node;
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
		*ret_listed = !names[i].hidden;
		return 0;
	}
	return -ENOENT;
}

static const char *number_suffix(enum walfs_kind kind)
{
	switch (kind) {
	case WALFS_RECORD:
		return "";
	case WALFS_SIDECAR:
		return ".hdr";
	case WALFS_MSG:
		return ".msg";
	case WALFS_FROM:
		return ".follow";
	default:
		return NULL;
	}
}

int walfs_node_name(const struct walfs_node *node, unsigned digits, char name[WALFS_NODE_NAME_MAX + 1])
{
	assert(digits <= WALFS_DIGITS_MAX);
	const char *suffix = number_suffix(node->kind);
	if (suffix)
		return snprintf(name, WALFS_NODE_NAME_MAX + 1, "%0*llu%s", digits ? (int)digits : 1,
				(unsigned long long)node->seq, suffix);
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
		if (names[i].hidden || walfs_node_local(&node) < local)
			continue;
		if (node.kind == WALFS_APPEND_HDR)
			node.uid = uid;
		*ret_node = node;
		return true;
	}
	return false;
}
