/* SPDX-License-Identifier: MIT
 *
 * What a user sees of the engine's errors.
 */
#include "reply.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

static void meanings(void **state)
{
	(void)state;
	assert_int_equal(walfs_errno(-EIDRM, WALFS_READING), ENOENT);
	assert_int_equal(walfs_errno(-EIDRM, WALFS_NAMING), ENOENT);
	assert_int_equal(walfs_errno(-EIDRM, WALFS_WRITING), ESTALE);
	assert_int_equal(walfs_errno(-EIDRM, WALFS_PACKET), ESTALE);
	assert_int_equal(walfs_errno(-EMSGSIZE, WALFS_WRITING), EFBIG);
	assert_int_equal(walfs_errno(-EMSGSIZE, WALFS_PACKET), EMSGSIZE);
	assert_int_equal(walfs_errno(-EMSGSIZE, WALFS_HEADING), E2BIG);
	assert_int_equal(walfs_errno(-EMSGSIZE, WALFS_NAMING), ENAMETOOLONG);
	assert_int_equal(walfs_errno(-EBADMSG, WALFS_READING), EIO);
	assert_int_equal(walfs_errno(-EPROTONOSUPPORT, WALFS_READING), EIO);
}

static void others_pass(void **state)
{
	static const int same[] = {
		ENOENT, EEXIST, ENOSPC, EDQUOT, EIO, EROFS, ESTALE, EPERM, ENOTEMPTY, EINVAL, ENOMEM
	};
	(void)state;
	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		for (int sense = WALFS_READING; sense <= WALFS_NAMING; sense++)
			assert_int_equal(walfs_errno(-same[i], (enum walfs_sense)sense), same[i]);
}

/* ENOSYS would switch an operation off for the whole mount; EAGAIN is between the loop and its workers. */
static void some_never_leave(void **state)
{
	(void)state;
	for (int sense = WALFS_READING; sense <= WALFS_NAMING; sense++) {
		assert_int_equal(walfs_errno(-ENOSYS, (enum walfs_sense)sense), EOPNOTSUPP);
		assert_int_equal(walfs_errno(-EAGAIN, (enum walfs_sense)sense), EIO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(meanings),
		cmocka_unit_test(others_pass),
		cmocka_unit_test(some_never_leave),
	};
	return cmocka_run_group_tests_name("reply", tests, NULL, NULL);
}
