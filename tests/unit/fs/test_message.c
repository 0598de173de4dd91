/* SPDX-License-Identifier: MIT
 *
 * The form of a message: where its empty line is, and which headers have the form.
 */
#include "message.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static void assert_empty_line(const char *text, bool newline, ssize_t want)
{
	assert_int_equal(walfs_message_empty_line(text, strlen(text), newline), want);
}

static void empty_lines(void **state)
{
	(void)state;
	assert_empty_line("h\n\nc", true, 2);
	assert_empty_line("h\n\nc", false, 2);
	assert_empty_line("\nc", true, 0);
	assert_empty_line("\nc", false, -ENOENT);
	assert_empty_line("\n\nc", true, 0);
	assert_empty_line("\n\nc", false, 1);
	assert_empty_line("a\nb\n\n\n", false, 4);
	assert_empty_line("a\nb\n", true, -ENOENT);
	assert_empty_line("a\n \n", true, -ENOENT);
	assert_empty_line("", true, -ENOENT);
	assert_int_equal(walfs_message_empty_line("\0\n\n", 3, true), 2);
}

/* The header that a message with this one in front would be read as having is this one: that is what fits means. */
static void fits_means_the_same_again(void **state)
{
	static const char *const headers[] = { "",      "h\n",      "a\nb\n", "h",    "\n",  "\nh\n",
					       "h\n\n", "a\n\nb\n", " \n",    "h\nx", "\r\n" };
	char text[32];
	(void)state;
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		size_t len = strlen(headers[i]);
		memcpy(text, headers[i], len);
		memcpy(text + len, "\nc", 2);
		bool same = walfs_message_empty_line(text, len + 2, true) == (ssize_t)len;
		assert_int_equal(walfs_message_fits((struct wal_span){ headers[i], len }), same);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_lines),
		cmocka_unit_test(fits_means_the_same_again),
	};
	return cmocka_run_group_tests_name("message", tests, NULL, NULL);
}
