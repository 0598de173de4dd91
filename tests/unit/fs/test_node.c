/* SPDX-License-Identifier: MIT
 *
 * Node numbers and names: the two directions agree, the order is the listing's, and no number means two things.
 */
#include "node.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define SEQ_MAX ((UINT64_C(1) << 36) - 17)
#define UNLISTED_MAX ((UINT64_C(1) << 34) - 1)
#define STREAM_MAX ((UINT64_C(1) << 26) - 1)

static const uint64_t streams[] = { 1, 2, 4711, STREAM_MAX };
static const uint64_t seqs[] = { 1, 2, 9, 10, 1000000, UINT64_C(10000000000), SEQ_MAX - 1, SEQ_MAX };

#define N(array) (sizeof(array) / sizeof(array[0]))

static void assert_round_trip(const struct walfs_node *node)
{
	struct walfs_node back;
	uint64_t id = walfs_node_id(node);
	assert_int_not_equal(id, 0);
	assert_int_equal(walfs_node_from_id(id, &back), 0);
	assert_int_equal(back.kind, node->kind);
	assert_int_equal(back.stream, node->stream);
	assert_int_equal(back.seq, node->seq);
	assert_int_equal(back.uid, node->uid);
	assert_int_equal(back.token, node->token);
	assert_int_equal(walfs_node_stream(id), node->stream);
}

static void the_root_is_number_1(void **state)
{
	struct walfs_node root = { .kind = WALFS_ROOT };
	(void)state;
	assert_int_equal(walfs_node_id(&root), 1);
	assert_round_trip(&root);
}

static void numbers_go_back(void **state)
{
	static const enum walfs_kind store[] = { WALFS_ROOT,  WALFS_CONTROL_DIR,  WALFS_VERSION, WALFS_STATUS,
						 WALFS_STATS, WALFS_STORE_CONFIG, WALFS_SYNC,    WALFS_METRICS };
	static const enum walfs_kind fixed[] = { WALFS_STREAM,     WALFS_APPEND, WALFS_APPEND_MSG, WALFS_FIRST,
						 WALFS_LAST,       WALFS_STAT,   WALFS_CONFIG,     WALFS_FOLLOW,
						 WALFS_NEW_FOLLOW, WALFS_AT };
	static const enum walfs_kind tokens[] = { WALFS_APPEND_LINE, WALFS_CREATION };
	static const enum walfs_kind unlisted[] = { WALFS_MSG, WALFS_FROM, WALFS_ALL, WALFS_AT_LINK, WALFS_AT_FOLLOW };
	static const uint32_t uids[] = { 0, 1, 1000, UINT32_MAX - 1, UINT32_MAX };
	(void)state;
	for (size_t i = 0; i < N(store); i++)
		assert_round_trip(&(struct walfs_node){ .kind = store[i] });
	for (size_t s = 0; s < N(streams); s++) {
		for (size_t i = 0; i < N(fixed); i++)
			assert_round_trip(&(struct walfs_node){ .kind = fixed[i], .stream = streams[s] });
		for (size_t i = 0; i < N(uids); i++)
			assert_round_trip(
				&(struct walfs_node){ .kind = WALFS_APPEND_HDR, .stream = streams[s], .uid = uids[i] });
		for (size_t i = 0; i < N(uids); i++)
			assert_round_trip(
				&(struct walfs_node){ .kind = WALFS_NEXT_HDR, .stream = streams[s], .uid = uids[i] });
		for (size_t i = 0; i < N(tokens) * N(uids); i++)
			assert_round_trip(&(struct walfs_node){
				.kind = tokens[i % N(tokens)], .stream = streams[s], .token = uids[i / N(tokens)] });
		for (size_t i = 0; i < N(unlisted) * 5; i++)
			assert_round_trip(&(struct walfs_node){ .kind = unlisted[i % N(unlisted)],
								.stream = streams[s],
								.seq = seqs[i / N(unlisted)] });
		assert_round_trip(
			&(struct walfs_node){ .kind = WALFS_FROM, .stream = streams[s], .seq = UNLISTED_MAX });
		assert_round_trip(&(struct walfs_node){ .kind = WALFS_AT_FOLLOW, .stream = streams[s] });
		for (size_t i = 0; i < N(seqs); i++) {
			assert_round_trip(
				&(struct walfs_node){ .kind = WALFS_RECORD, .stream = streams[s], .seq = seqs[i] });
			assert_round_trip(
				&(struct walfs_node){ .kind = WALFS_SIDECAR, .stream = streams[s], .seq = seqs[i] });
		}
	}
}

static void other_numbers_are_nobodys(void **state)
{
	static const uint64_t bad[] = {
		0,
		9,
		10,
		16,
		17,
		32,
		UINT64_C(1) << 36, /* of the store */
		UINT64_C(1) << 37,
		(UINT64_C(1) << 37) + 3, /* of stream 1: append.line has a number by lookup; no kind */
		(UINT64_C(1) << 37) + 13,
		(UINT64_C(1) << 37) + 5,
		(UINT64_C(1) << 37) + 32, /* append.hdr has a number by user; record 0 */
		(UINT64_C(1) << 37) + 33,
		UINT64_C(1) << 63, /* record 0, a user's without a stream */
		(UINT64_C(1) << 63) + (UINT64_C(1) << 37) + (UINT64_C(6) << 34), /* a tag that is not used */
		(UINT64_C(1) << 63) + (UINT64_C(1) << 37) + (UINT64_C(1) << 34), /* 0.msg, 0.follow */
		(UINT64_C(1) << 63) + (UINT64_C(1) << 37) + (UINT64_C(2) << 34),
	};
	struct walfs_node node;
	(void)state;
	for (size_t i = 0; i < N(bad); i++)
		assert_int_equal(walfs_node_from_id(bad[i], &node), -ESTALE);
}

static void too_large_does_not_fit(void **state)
{
	struct walfs_node dir = { .kind = WALFS_STREAM, .stream = 1 }, node;
	bool listed;
	(void)state;
	assert_true(walfs_node_fits(WALFS_RECORD, SEQ_MAX));
	assert_false(walfs_node_fits(WALFS_RECORD, SEQ_MAX + 1));
	assert_false(walfs_node_fits(WALFS_RECORD, 0));
	assert_int_equal(walfs_node_id(&(struct walfs_node){ .kind = WALFS_RECORD, .stream = 1, .seq = SEQ_MAX + 1 }),
			 0);
	assert_int_equal(walfs_node_parse(&dir, "68719476719", 0, 10, &node, &listed), 0);
	assert_int_equal(walfs_node_parse(&dir, "68719476720", 0, 10, &node, &listed), -EOVERFLOW);
	assert_int_equal(walfs_node_parse(&dir, "18446744073709551616", 0, 10, &node, &listed), -ENOENT);
	assert_int_equal(walfs_node_parse(&dir, "17179869183.msg", 0, 10, &node, &listed), 0);
	assert_int_equal(walfs_node_parse(&dir, "17179869184.msg", 0, 10, &node, &listed), -EOVERFLOW);
	assert_int_equal(walfs_node_parse(&dir, "17179869184.follow", 0, 10, &node, &listed), -EOVERFLOW);
}

/* A listing in the order of places is in the order of numbers. */
static void order(void **state)
{
	struct walfs_node dir = { .kind = WALFS_STREAM, .stream = 3 }, node;
	uint64_t before = 0;
	unsigned n = 0;
	(void)state;
	for (uint64_t local = 0; walfs_node_fixed(&dir, 1000, local, &node); local = walfs_node_local(&node) + 1) {
		assert_true(walfs_node_local(&node) >= local);
		assert_true(walfs_node_ino(&node) > before);
		before = walfs_node_ino(&node);
		n++;
	}
	assert_int_equal(n, 8);
	for (uint64_t seq = 1; seq < 100; seq++) {
		struct walfs_node sidecar = { .kind = WALFS_SIDECAR, .stream = 3, .seq = seq };
		struct walfs_node record = { .kind = WALFS_RECORD, .stream = 3, .seq = seq };
		bool passed;
		assert_true(walfs_node_id(&sidecar) > before);
		assert_true(walfs_node_id(&record) > walfs_node_id(&sidecar));
		before = walfs_node_id(&record);
		assert_int_equal(walfs_node_local_seq(walfs_node_local(&sidecar), &passed), seq);
		assert_false(passed);
		assert_int_equal(walfs_node_local_seq(walfs_node_local(&sidecar) + 1, &passed), seq);
		assert_true(passed);
		assert_int_equal(walfs_node_local_seq(walfs_node_local(&record) + 1, &passed), seq + 1);
		assert_false(passed);
	}
}

static void assert_parses(const char *name, unsigned digits, enum walfs_kind kind, uint64_t seq, bool is_listed)
{
	struct walfs_node dir = { .kind = WALFS_STREAM, .stream = 1 }, node;
	char back[WALFS_NODE_NAME_MAX + 1];
	bool listed;
	assert_int_equal(walfs_node_parse(&dir, name, 1000, digits, &node, &listed), 0);
	assert_int_equal(node.kind, kind);
	assert_int_equal(node.seq, seq);
	assert_int_equal(node.stream, 1);
	assert_int_equal(listed, is_listed);
	int len = walfs_node_name(&node, digits, back);
	assert_int_equal(len, strlen(back));
	if (is_listed)
		assert_string_equal(back, name);
	else if (digits == 10 && name[0] != '0')
		assert_true(seq == 0 || strcmp(back, name) != 0);
}

static void names(void **state)
{
	(void)state;
	assert_parses("append", 10, WALFS_APPEND, 0, true);
	assert_parses("append.hdr", 10, WALFS_APPEND_HDR, 0, true);
	assert_parses(".config", 10, WALFS_CONFIG, 0, true);
	assert_parses("0000000001", 10, WALFS_RECORD, 1, true);
	assert_parses("1", 10, WALFS_RECORD, 1, false);
	assert_parses("000000000000000000000000000000000000001", 10, WALFS_RECORD, 1, false);
	assert_parses("0000000042.hdr", 10, WALFS_SIDECAR, 42, true);
	assert_parses("42.hdr", 10, WALFS_SIDECAR, 42, false);
	assert_parses("42.hdr", 0, WALFS_SIDECAR, 42, true);
	assert_parses("42", 0, WALFS_RECORD, 42, true);
	assert_parses("042", 0, WALFS_RECORD, 42, false);
	assert_parses("append.line", 10, WALFS_APPEND_LINE, 0, true);
	assert_parses("append.msg", 10, WALFS_APPEND_MSG, 0, true);
	assert_parses("all", 10, WALFS_ALL, 0, false);
	assert_parses("at", 10, WALFS_AT, 0, false);
	assert_parses("follow", 10, WALFS_FOLLOW, 0, false);
	assert_parses("new.follow", 10, WALFS_NEW_FOLLOW, 0, false);
	assert_parses("7.follow", 10, WALFS_FROM, 7, false);
	assert_parses("0000000007.msg", 10, WALFS_MSG, 7, false);
	assert_parses("10000000000", 10, WALFS_RECORD, UINT64_C(10000000000), true);
}

static void no_names(void **state)
{
	static const char *const bad[] = { "",        "0",      "0000000000", "-1",        "+1",        " 1",
					   "1 ",      "0x1",    "1.",         "1.hd",      "1.hdr.hdr", ".hdr",
					   "0.hdr",   "0.msg",  ".msg",       "1.msg.hdr", ".follow",   "x.follow",
					   "append.", "Append", "version",    ".walfs",    "1e3" };
	struct walfs_node dir = { .kind = WALFS_STREAM, .stream = 1 }, control = { .kind = WALFS_CONTROL_DIR }, node;
	bool listed;
	(void)state;
	for (size_t i = 0; i < N(bad); i++)
		assert_int_equal(walfs_node_parse(&dir, bad[i], 0, 10, &node, &listed), -ENOENT);
	assert_int_equal(walfs_node_parse(&control, "1", 0, 10, &node, &listed), -ENOENT);
	assert_int_equal(walfs_node_parse(&control, "append", 0, 10, &node, &listed), -ENOENT);
	assert_int_equal(walfs_node_parse(&control, "version", 0, 10, &node, &listed), 0);
	assert_int_equal(node.kind, WALFS_VERSION);
}

static void each_user_has_a_header(void **state)
{
	struct walfs_node dir = { .kind = WALFS_STREAM, .stream = 1 }, a, b;
	bool listed;
	(void)state;
	assert_int_equal(walfs_node_parse(&dir, "append.hdr", 1000, 10, &a, &listed), 0);
	assert_int_equal(walfs_node_parse(&dir, "append.hdr", 1001, 10, &b, &listed), 0);
	assert_int_not_equal(walfs_node_id(&a), walfs_node_id(&b));
	/* A name that means another node for each user must not be kept for another. */
	assert_true(walfs_node_caching(WALFS_APPEND_HDR)->entry_s == 0.0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_root_is_number_1),
		cmocka_unit_test(numbers_go_back),
		cmocka_unit_test(other_numbers_are_nobodys),
		cmocka_unit_test(too_large_does_not_fit),
		cmocka_unit_test(order),
		cmocka_unit_test(names),
		cmocka_unit_test(no_names),
		cmocka_unit_test(each_user_has_a_header),
	};
	return cmocka_run_group_tests_name("node", tests, NULL, NULL);
}
