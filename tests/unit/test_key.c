/* SPDX-License-Identifier: MIT
 *
 * Key and name are a bijection, and nothing that is not a spelling of a key is taken for one.
 */
#include "kit.h"

#include "key.h"

static void spelled(const char *key, size_t len, const char *name)
{
	char got[WAL_NAME_MAX + 1], back[WAL_KEY_MAX + 1];

	assert_int_equal(wal_key_to_name((struct wal_span){ key, len }, got), strlen(name));
	assert_string_equal(got, name);
	assert_int_equal(wal_key_from_name(name, back), len);
	assert_memory_equal(back, key, len);
	assert_int_equal(back[len], 0);
}
#define SPELLED(key, name) spelled(key, sizeof(key) - 1, name)

static void spellings(void **state)
{
	(void)state;
	SPELLED("orders", "orders");
	SPELLED("topic:partition:3", "topic:partition:3");
	SPELLED("a/b", "a%2Fb");
	SPELLED("100%", "100%25");
	SPELLED(".", "%2E");
	SPELLED("..", "%2E.");
	SPELLED(".walfs", "%2Ewalfs");
	SPELLED("a.b", "a.b");
	SPELLED("\x01\x1f\x7f\n", "%01%1F%7F%0A");
	SPELLED("caf\xc3\xa9 \xff", "caf\xc3\xa9 \xff");
	SPELLED("~", "~");
}

static void not_names(void **state)
{
	static const char *const bad[] = { "",    ".",  "..", ".a",   "a/b", "%2f", "%41",        "%",      "%2",
					   "%G0", "a%", "\n", "\x7f", "%00", "%2e", "lost+found", "%2Ea%41" };
	char key[WAL_KEY_MAX + 1];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		if (wal_key_from_name(bad[i], key) != -EINVAL)
			fail_msg("'%s' is taken for a name", bad[i]);
}

static void not_keys(void **state)
{
	char name[WAL_NAME_MAX + 1], long_key[WAL_KEY_MAX + 2];

	(void)state;
	assert_int_equal(wal_key_to_name((struct wal_span){ "", 0 }, name), -EINVAL);
	assert_int_equal(wal_key_to_name((struct wal_span){ "a\0b", 3 }, name), -EINVAL);
	assert_int_equal(wal_key_to_name(KEY("lost+found"), name), -EINVAL);
	memset(long_key, 'k', sizeof(long_key));
	assert_int_equal(wal_key_to_name((struct wal_span){ long_key, 255 }, name), 255);
	assert_int_equal(wal_key_to_name((struct wal_span){ long_key, 256 }, name), -EMSGSIZE);
	long_key[0] = '/';
	assert_int_equal(wal_key_to_name((struct wal_span){ long_key, 253 }, name), 255);
	assert_int_equal(wal_key_to_name((struct wal_span){ long_key, 254 }, name), -EMSGSIZE);
	assert_int_equal(wal_key_check((struct wal_span){ long_key, 254 }), -EMSGSIZE);
}

/* Every key of two bytes: back again, and no two with one name. */
static void bijection(void **state)
{
	char name[WAL_NAME_MAX + 1], key[WAL_KEY_MAX + 1];

	(void)state;
	for (unsigned a = 1; a < 256; a++) {
		for (unsigned b = 1; b < 256; b++) {
			char in[2] = { (char)a, (char)b };

			assert_true(wal_key_to_name((struct wal_span){ in, 2 }, name) >= 2);
			assert_null(strchr(name, '/'));
			assert_int_equal(wal_key_from_name(name, key), 2);
			assert_memory_equal(key, in, 2);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(spellings),
		cmocka_unit_test(not_names),
		cmocka_unit_test(not_keys),
		cmocka_unit_test(bijection),
	};

	return cmocka_run_group_tests_name("key", tests, NULL, NULL);
}
