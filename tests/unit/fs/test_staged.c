/* SPDX-License-Identifier: MIT
 *
 * Staged headers: taken once, in order, by their user alone, and never too many.
 */
#include "staged.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct walfs_staged_key key(uint64_t stream, uint32_t uid)
{
	return (struct walfs_staged_key){ .stream = stream, .uid = uid };
}

static void assert_takes(struct walfs_staged *staged, uint64_t stream, uint32_t uid, uint64_t stamp, const char *want)
{
	void *data = NULL;
	size_t len = walfs_staged_take(staged, key(stream, uid), stamp, &data);
	assert_int_equal(len, strlen(want));
	if (len > 0)
		assert_memory_equal(data, want, len);
	free(data);
}

static void put(struct walfs_staged *staged, uint64_t stream, uint32_t uid, const char *text)
{
	assert_int_equal(walfs_staged_put(staged, key(stream, uid), text, strlen(text)), 0);
}

static void taken_once(void **state)
{
	struct walfs_staged staged;
	(void)state;
	walfs_staged_init(&staged);
	put(&staged, 1, 1000, "a");
	put(&staged, 1, 1001, "b");
	put(&staged, 2, 1000, "c");
	uint64_t stamp = walfs_staged_stamp(&staged);
	assert_int_equal(walfs_staged_len(&staged, key(1, 1000)), 1);
	assert_takes(&staged, 1, 1000, stamp, "a");
	assert_takes(&staged, 1, 1000, stamp, "");
	assert_takes(&staged, 1, 1001, stamp, "b");
	assert_takes(&staged, 2, 1001, stamp, "");
	assert_takes(&staged, 2, 1000, stamp, "c");
	walfs_staged_fini(&staged);
}

static void the_last_one_counts(void **state)
{
	struct walfs_staged staged;
	(void)state;
	walfs_staged_init(&staged);
	put(&staged, 1, 0, "old");
	put(&staged, 1, 0, "new");
	assert_takes(&staged, 1, 0, walfs_staged_stamp(&staged), "new");
	put(&staged, 1, 0, "x");
	put(&staged, 1, 0, "");
	assert_takes(&staged, 1, 0, walfs_staged_stamp(&staged), "");
	walfs_staged_fini(&staged);
}

/* What was opened before the header was staged does not get it. */
static void opened_before(void **state)
{
	struct walfs_staged staged;
	(void)state;
	walfs_staged_init(&staged);
	uint64_t stamp = walfs_staged_stamp(&staged);
	put(&staged, 1, 0, "x");
	assert_takes(&staged, 1, 0, stamp, "");
	assert_takes(&staged, 1, 0, walfs_staged_stamp(&staged), "x");
	walfs_staged_fini(&staged);
}

static void bounded(void **state)
{
	static char big[65536];
	struct walfs_staged staged;
	uint64_t stream = 1;
	int err;
	(void)state;
	walfs_staged_init(&staged);
	assert_int_equal(walfs_staged_put(&staged, key(1, 0), big, sizeof(big)), -E2BIG);
	assert_int_equal(walfs_staged_put(&staged, key(1, 0), big, sizeof(big) - 1), 0);
	assert_int_equal(walfs_staged_check(&staged, key(1, 0), sizeof(big) - 1), 0);
	while ((err = walfs_staged_put(&staged, key(++stream, 0), big, sizeof(big) - 1)) == 0)
		assert_true(stream < 1000);
	assert_int_equal(err, -EDQUOT);
	assert_int_equal(walfs_staged_check(&staged, key(stream, 0), sizeof(big) - 1), -EDQUOT);
	/* Another user is not hindered by the first, until all of them together are too much. */
	for (uint32_t uid = 1; (err = walfs_staged_put(&staged, key(1, uid), big, sizeof(big) - 1)) == 0; uid++)
		assert_true(uid < 1000);
	assert_int_equal(err, -ENOSPC);
	/* In place of what is there it still goes. */
	put(&staged, 1, 0, "small");
	walfs_staged_fini(&staged);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(taken_once),
		cmocka_unit_test(the_last_one_counts),
		cmocka_unit_test(opened_before),
		cmocka_unit_test(bounded),
	};
	return cmocka_run_group_tests_name("staged", tests, NULL, NULL);
}
