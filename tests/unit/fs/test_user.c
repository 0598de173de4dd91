/* SPDX-License-Identifier: MIT
 *
 * Users: limits, shares, and that all is given back.
 */
#include "user.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <errno.h>
#include <unistd.h>

#include "opts.h"

#define MIB ((uint64_t)1 << 20)

static struct walfs_users users;

static int setup(void **state)
{
	static const struct walfs_opts opts = { .user_files = 3, .user_pending = 1000 };

	(void)state;
	walfs_users_init(&users, &opts);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_null(users.table);
	for (unsigned thing = 0; thing < WALFS_THINGS; thing++)
		assert_int_equal(walfs_users_all(&users, thing), 0);
	walfs_users_fini(&users);
	return 0;
}

static struct walfs_user *enter(uint32_t uid)
{
	struct walfs_user *user = NULL;

	assert_int_equal(walfs_user_enter(&users, uid, &user), 0);
	return user;
}

static void files(void **state)
{
	struct walfs_user *user = NULL, *other;

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		user = enter(7001);
	assert_int_equal(walfs_user_enter(&users, 7001, &user), -EMFILE);
	other = enter(7002);
	assert_ptr_not_equal(user, other);
	walfs_user_leave(user);
	assert_ptr_equal(enter(7001), user);
	for (unsigned i = 0; i < 3; i++)
		walfs_user_leave(user);
	walfs_user_leave(other);
}

static void pending(void **state)
{
	struct walfs_user *user = enter(7001), *other = enter(7002);

	(void)state;
	assert_int_equal(walfs_user_take(user, WALFS_PENDING, 900), 0);
	assert_int_equal(walfs_user_take(user, WALFS_PENDING, 101), -EDQUOT);
	assert_int_equal(walfs_user_take(user, WALFS_PENDING, UINT64_MAX), -EDQUOT);
	assert_int_equal(walfs_user_take(user, WALFS_PENDING, 100), 0);
	assert_int_equal(walfs_user_take(user, WALFS_PENDING, 1), -EDQUOT);
	assert_int_equal(walfs_user_take(other, WALFS_PENDING, 1000), 0);
	assert_int_equal(walfs_users_all(&users, WALFS_PENDING), 2000);
	walfs_user_give(user, WALFS_PENDING, 1000);
	walfs_user_give(other, WALFS_PENDING, 1000);
	walfs_user_leave(user);
	walfs_user_leave(other);
}

static void root_and_owner(void **state)
{
	const uint32_t uids[] = { 0, geteuid() };

	(void)state;
	for (unsigned k = 0; k < 2; k++) {
		struct walfs_user *user = enter(uids[k]);

		for (unsigned i = 0; i < 10; i++)
			(void)enter(uids[k]);
		assert_int_equal(walfs_user_take(user, WALFS_PENDING, 5000), 0);
		walfs_user_give(user, WALFS_PENDING, 5000);
		for (unsigned i = 0; i < 11; i++)
			walfs_user_leave(user);
	}
}

/* Nobody gets more than is left for others; whoever comes gets something. */
static void shares(void **state)
{
	struct walfs_user *first = enter(7001), *second = enter(7002), *third = enter(0);
	uint64_t n[3] = { 0, 0, 0 };

	(void)state;
	while (walfs_user_take(first, WALFS_MEMORY, MIB) == 0)
		n[0]++;
	while (walfs_user_take(second, WALFS_MEMORY, MIB) == 0)
		n[1]++;
	while (walfs_user_take(third, WALFS_MEMORY, MIB) == 0)
		n[2]++;
	assert_int_equal(n[0], 8);
	assert_int_equal(n[1], 4);
	assert_int_equal(n[2], 2);
	/* What one gives back another may have. */
	walfs_user_give(first, WALFS_MEMORY, n[0] * MIB);
	assert_int_equal(walfs_user_take(second, WALFS_MEMORY, 2 * MIB), 0);
	walfs_user_give(second, WALFS_MEMORY, (n[1] + 2) * MIB);
	walfs_user_give(third, WALFS_MEMORY, n[2] * MIB);
	walfs_user_leave(first);
	walfs_user_leave(second);
	walfs_user_leave(third);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files, setup, teardown),
		cmocka_unit_test_setup_teardown(pending, setup, teardown),
		cmocka_unit_test_setup_teardown(root_and_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(shares, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
