/* SPDX-License-Identifier: MIT
 *
 * Settings as text: what is written is read back, and a text with one bad line changes nothing.
 */
#include "kit.h"

static int parse(struct wal_settings *settings, const char *text)
{
	return wal_settings_parse(settings, text, strlen(text), NULL);
}

static void values(void **state)
{
	struct wal_settings s = { 0 };

	(void)state;
	assert_int_equal(
		parse(&s, "durable=no\nretention.age=7d\nretention.bytes=10G\nretention.records=1000\nmax_record=1M\n"),
		0);
	assert_int_equal(s.durability, WAL_DURABILITY_RELAXED);
	assert_int_equal(s.retention_age_ns, 7 * 86400 * SECOND);
	assert_int_equal(s.retention_bytes, UINT64_C(10) << 30);
	assert_int_equal(s.retention_records, 1000);
	assert_int_equal(s.max_record, 1 << 20);
	assert_int_equal(parse(&s, "retention.age=90"), 0); /* seconds; no newline at the end */
	assert_int_equal(s.retention_age_ns, 90 * SECOND);
	assert_int_equal(parse(&s, "retention.age=none\ndurable=yes\n"), 0);
	assert_true(s.retention_age_ns == WAL_FOREVER);
	assert_int_equal(s.durability, WAL_DURABILITY_DURABLE);
	assert_int_equal(parse(&s, "retention.age=default\nretention.bytes=\ndurable=default\n"), 0);
	assert_int_equal(s.retention_age_ns, 0);
	assert_int_equal(s.retention_bytes, 0);
	assert_int_equal(s.durability, WAL_DURABILITY_DEFAULT);
	assert_int_equal(s.retention_records, 1000);
}

static void malformed(void **state)
{
	static const char *const bad[] = { "x",
					   "=",
					   "foo=1",
					   "durable=maybe",
					   "retention.age=7y",
					   "retention.age=-1",
					   "retention.age= 7d",
					   "retention.bytes=1.5G",
					   "retention.records=1K",
					   "retention.bytes=99999999999999999999",

					   "retention.age=99999999w",
					   "max_record=0",
					   "max_record=1T ",
					   "durable =yes",
					   "retention.records=0",
					   "max_record=2T" };
	struct wal_err err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct wal_settings s = { .retention_records = 5 };
		char text[100];

		memset(&err, 0, sizeof(err));
		(void)snprintf(text, sizeof(text), "retention.records=6\n%s\n", bad[i]);
		if (wal_settings_parse(&s, text, strlen(text), &err) != -EINVAL)
			fail_msg("'%s' is taken", bad[i]);
		assert_int_equal(s.retention_records, 5);
		assert_int_equal(err.code, -EINVAL);
		assert_true(strlen(err.text) > 5);
	}
}

static void written_and_read(void **state)
{
	static const uint64_t numbers[] = { 0, 1, 1000, 1024, 3600 * (uint64_t)SECOND, UINT64_C(5) << 30, WAL_FOREVER };
	char text[512], small[8];

	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		struct wal_settings s = { i % 3, 0, numbers[i], numbers[i], numbers[i], 1000 + i }, back = { 0 };
		int len = wal_settings_format(&s, text, sizeof(text));

		assert_in_range(len, 1, sizeof(text) - 1);
		assert_int_equal(strlen(text), len);
		assert_int_equal(wal_settings_format(&s, small, sizeof(small)), len);
		assert_int_equal(strlen(small), sizeof(small) - 1);
		assert_int_equal(parse(&back, text), 0);
		assert_memory_equal(&back, &s, sizeof(s));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(malformed),
		cmocka_unit_test(written_and_read),
	};

	return cmocka_run_group_tests_name("settings", tests, NULL, NULL);
}
