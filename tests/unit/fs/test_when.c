/* SPDX-License-Identifier: MIT
 *
 * Times as text: what date(1) says of them, and what is none.
 */
#include "when.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#define S INT64_C(1000000000)
#define N(array) (sizeof(array) / sizeof((array)[0]))

static void times(void **state)
{
	static const struct {
		const char *text;
		int64_t ns;
	} rows[] = {
		{ "1970-01-01T00:00:00Z", 0 },
		{ "1970-01-01t00:00:00z", 0 },
		{ "1970-01-01 00:00:00Z", 0 },
		{ "1970-01-01 00:00:01-00:00", 1 * S },
		{ "1969-12-31T23:59:59Z", -1 * S },
		{ "1969-12-31T23:59:59.5Z", -S / 2 },
		{ "2026-11-23T12:00:00Z", 1795435200 * S },
		{ "2026-11-23T13:00:00+01:00", 1795435200 * S },
		{ "2026-11-23T06:30:00-05:30", 1795435200 * S },
		{ "2026-11-23T12:00:00.000000001Z", 1795435200 * S + 1 },
		{ "2026-11-23T12:00:00.25Z", 1795435200 * S + S / 4 },
		/* at or after: what is finer is rounded up */
		{ "2026-11-23T12:00:00.0000000010Z", 1795435200 * S + 1 },
		{ "2026-11-23T12:00:00.00000000101Z", 1795435200 * S + 2 },
		{ "2026-11-23T12:00:00.9999999999Z", 1795435201 * S },
		{ "2000-02-29T00:00:00Z", 951782400 * S },
		{ "2016-12-31T23:59:60Z", 1483228800 * S },
		{ "2016-12-31T18:59:60.5-05:00", 1483228800 * S + S / 2 },
		{ "0000-01-01T00:00:00Z", INT64_MIN },
		{ "1600-01-01T00:00:00Z", INT64_MIN },
		{ "2262-04-11T23:47:16Z", INT64_C(9223372036) * S },
		{ "1677-09-21T00:12:44Z", INT64_C(-9223372036) * S },
		{ "@0", 0 },
		{ "@-0", 0 },
		{ "@1795435200", 1795435200 * S },
		{ "@+1795435200", 1795435200 * S },
		{ "@1795435200.5", 1795435200 * S + S / 2 },
		{ "@-1.5", -S - S / 2 },
		{ "@-1.0000000009", -S },
		{ "@1.0000000009", S + 1 },
		{ "@00000000000000000000000000001", S },
		{ "@-99999999999999999999999", INT64_MIN },
		{ "@-9223372037", INT64_MIN },
	};
	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		int64_t ns = 42;
		int err = walfs_when_parse(rows[i].text, strlen(rows[i].text), &ns);
		if (err != 0 || ns != rows[i].ns)
			fail_msg("%s: %d, %lld ns, not %lld", rows[i].text, err, (long long)ns, (long long)rows[i].ns);
	}
}

static void not_times(void **state)
{
	static const char *const rows[] = {
		"",
		"@",
		"@-",
		"@.5",
		"@1.",
		"@1 ",
		" @1",
		"@1e9",
		"@0x1",
		"@--1",
		"now",
		"yesterday",
		"1795435200",
		"2026-11-23",
		"2026-11-23T12:00:00",
		"2026-11-23T12:00Z",
		"2026-11-23T12:00:00 Z",
		"2026-11-23T12:00:00Zz",
		"2026-11-23T12:00:00.Z",
		"2026-11-23T24:00:00Z",
		"2026-11-23T12:60:00Z",
		"2026-11-23T12:00:61Z",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-04-31T00:00:00Z",
		"2026-04-00T00:00:00Z",
		"2025-02-29T00:00:00Z",
		"1900-02-29T00:00:00Z",
		"26-11-23T12:00:00Z",
		"12026-11-23T12:00:00Z",
		"-2026-11-23T12:00:00Z",
		"2026-1-23T12:00:00Z",
		"2026-11-23T12:00:00+1:00",
		"2026-11-23T12:00:00+0100",
		"2026-11-23T12:00:00+24:00",
		"2026-11-23T12:00:00+00:60",
		"2026-11-23_12:00:00Z",
		"2026/11/23T12:00:00Z",
	};
	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		int64_t ns = 42;
		if (walfs_when_parse(rows[i], strlen(rows[i]), &ns) != -EINVAL || ns != 42)
			fail_msg("'%s' is taken for a time", rows[i]);
	}
}

static void after_all_times(void **state)
{
	static const char *const rows[] = { "9999-12-31T23:59:59Z", "2262-04-11T23:47:17Z", "@9223372037",
					    "@99999999999999999999999" };
	(void)state;
	for (size_t i = 0; i < N(rows); i++) {
		int64_t ns = 42;
		assert_int_equal(walfs_when_parse(rows[i], strlen(rows[i]), &ns), -ERANGE);
		assert_int_equal(ns, 42);
	}
}

/* The C library agrees about every day. */
static void every_day(void **state)
{
	(void)state;
	for (int64_t day = -INT64_C(100000); day < 100000; day++) {
		time_t when = (time_t)(day * 86400 + 86399);
		struct tm tm;
		char text[64];
		int64_t ns = 0;
		assert_non_null(gmtime_r(&when, &tm));
		size_t len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
		assert_int_equal(walfs_when_parse(text, len, &ns), 0);
		assert_int_equal(ns, (int64_t)when * S);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times),
		cmocka_unit_test(not_times),
		cmocka_unit_test(after_all_times),
		cmocka_unit_test(every_day),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
