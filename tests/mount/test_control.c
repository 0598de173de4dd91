/* SPDX-License-Identifier: MIT
 *
 * The control files: .config and .stat of a stream, and those of the store in .walfs.
 */
#include "files.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* The value of `key` in a file of `key=value` or `key value` lines; "" where it has none. */
static void value_of(const struct mnt *m, const char *path, const char *key, char value[256])
{
	char *text = slurp(mp(m, "%s", path), NULL), *save = NULL;
	size_t len = strlen(key);

	value[0] = '\0';
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (strncmp(line, key, len) == 0 && (line[len] == '=' || line[len] == ' '))
			(void)snprintf(value, 256, "%s", line + len + 1);
	free(text);
}

static void assert_value(const struct mnt *m, const char *path, const char *key, const char *want)
{
	char got[256];

	value_of(m, path, key, got);
	if (strcmp(got, want) != 0)
		fail_msg("%s: %s is '%s', not '%s'", path, key, got, want);
}

/* Every line is a key, the separator, a value; no key comes twice. */
static void assert_lines(const struct mnt *m, const char *path, char separator)
{
	char *text = slurp(mp(m, "%s", path), NULL), *save = NULL, keys[8192] = "|", needle[256];
	size_t n = strlen(text);

	if (n == 0 || text[n - 1] != '\n')
		fail_msg("%s is not made of whole lines", path);
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		size_t len = 0, end = strlen(keys);

		while (islower((unsigned char)line[len]) || isdigit((unsigned char)line[len]) || line[len] == '_' ||
		       line[len] == '.')
			len++;
		if (len == 0 || line[len] != separator)
			fail_msg("%s has the line '%s'", path, line);
		(void)snprintf(needle, sizeof(needle), "|%.*s|", (int)len, line);
		if (strstr(keys, needle))
			fail_msg("%s has '%.*s' twice", path, (int)len, line);
		(void)snprintf(keys + end, sizeof(keys) - end, "%s", needle + 1);
	}
	free(text);
}

static void set(const struct mnt *m, const char *path, const char *text)
{
	put(mp(m, "%s", path), O_WRONLY | O_TRUNC, (struct bytes){ text, strlen(text) });
}

static void settings(void **state)
{
	struct mnt *m = *state;
	char age[256];

	make_stream(m, "s");
	make_stream(m, "t");
	assert_lines(m, "s/.config", '=');
	set(m, "s/.config", "durable=no\n");
	set(m, "s/.config", "retention.records=1000\nretention.age=90d\n");
	assert_int_equal(sh(m, "echo retention.bytes=10G > s/.config && echo max_record=2M >> s/.config"), 0);
	for (int again = 0; again < 2; again++) {
		assert_lines(m, "s/.config", '=');
		assert_value(m, "s/.config", "durable", "no");
		assert_value(m, "s/.config", "retention.records", "1000");
		value_of(m, "s/.config", "retention.age", age);
		assert_true(age[0] != '\0' && strcmp(age, "default") != 0 && strcmp(age, "none") != 0);
		value_of(m, "s/.config", "retention.bytes", age);
		assert_true(age[0] != '\0' && strcmp(age, "default") != 0 && strcmp(age, "none") != 0);
		assert_int_equal(sh(m, "head -c 3000000 /dev/zero > s/append 2>/dev/null"), 1);
		value_of(m, "t/.config", "durable", age);
		assert_string_not_equal(age, "no");
		mnt_restart(m, NULL);
	}
	set(m, "s/.config", "durable=yes\nmax_record=default\n");
	assert_value(m, "s/.config", "durable", "yes");
	assert_value(m, "s/.config", "retention.records", "1000");
	assert_int_equal(sh(m, "head -c 3000000 /dev/zero > s/append"), 0);
	/* What is read can be written back, and then reads the same. */
	assert_int_equal(sh(m, "cat s/.config > $T/kept && echo durable=no > s/.config && cat $T/kept > s/.config && "
			       "cmp s/.config $T/kept && cp $T/kept t/.config && cmp t/.config $T/kept"),
			 0);
}

static void wrong_settings(void **state)
{
	static const char *const wrong[] = {
		"nonsense=1\n",
		"nonsense\n",
		"durable=maybe\n",
		"durable\n",
		"=no\n",
		"durable=no=yes\n",
		"retention.age=soon\n",
		"retention.age=-1d\n",
		"retention.age=7q\n",
		"retention.bytes=lots\n",
		"retention.records=1.5\n",
		"retention.records=-3\n",
		"max_record=99999999999999999999999999\n",
		"durable=no\nnonsense=1\n",
		"nonsense=1\ndurable=no\n",
		"durable=no\nretention.records=7\nretention.age=x\n",
		"durable=no\n\x01\n",
		"Durable=no\n",
		"durable: no\n",
	};
	struct mnt *m = *state;
	char *before, *after;

	m->log_may_complain = true; /* it may tell what it refused */
	make_stream(m, "s");
	set(m, "s/.config", "durable=yes\nretention.records=5000\n");
	before = slurp(mp(m, "s/.config"), NULL);
	for (int k = 0; k < 2; k++) {
		const char *path = k ? ".walfs/config" : "s/.config";

		for (unsigned i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
			int fd = (int)must(open(mp(m, "%s", path), O_WRONLY | O_TRUNC));

			if (write(fd, wrong[i], strlen(wrong[i])) != -1 || errno != EINVAL)
				fail_msg("'%s' to %s: %s, not EINVAL", wrong[i], path, strerror(errno));
			(void)close(fd);
		}
	}
	assert_int_not_equal(sh(m, "echo nonsense > s/.config 2>/dev/null"), 0);
	after = slurp(mp(m, "s/.config"), NULL);
	assert_string_equal(before, after);
	free(after);
	/* A good line behind a wrong one, in a write of its own, counts. */
	assert_int_equal(sh(m, "{ echo nonsense=1; echo retention.records=6000; } > s/.config 2>/dev/null; "
			       "/bin/echo retention.records=6000 > s/.config"),
			 0);
	assert_value(m, "s/.config", "retention.records", "6000");
	free(before);
}

static void opening_changes_nothing(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	set(m, "s/.config", "durable=no\n");
	assert_int_equal(sh(m, ": > s/.config; touch s/.config; truncate -s 0 s/.config; rm s/.config"), 0);
	assert_value(m, "s/.config", "durable", "no");
	assert_int_not_equal(sh(m, "echo x > s/.stat 2>/dev/null"), 0);
	assert_int_not_equal(sh(m, "echo x > .walfs/status 2>/dev/null"), 0);
	assert_int_not_equal(sh(m, "echo x > .walfs/version 2>/dev/null"), 0);
}

static void store_defaults(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	make_stream(m, "own");
	set(m, "own/.config", "durable=yes\nmax_record=1M\n");
	assert_lines(m, ".walfs/config", '=');
	set(m, ".walfs/config", "durable=no\nmax_record=1000\n");
	for (int again = 0; again < 2; again++) {
		assert_value(m, ".walfs/config", "durable", "no");
		assert_int_not_equal(sh(m, "head -c 1001 /dev/zero > s/append 2>/dev/null"), 0);
		assert_int_equal(sh(m, "head -c 1001 /dev/zero > own/append"), 0);
		mnt_restart(m, NULL);
	}
	set(m, ".walfs/config", "durable=default\nmax_record=default\n");
	assert_int_equal(sh(m, "head -c 1001 /dev/zero > s/append"), 0);
	assert_int_equal(last_seq(m, "s"), 1);
	assert_int_equal(last_seq(m, "own"), 2);
}

/* What limits a stream, by its records: never more is removed than asked. */
static void retention_keeps_what_it_should(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	set(m, "s/.config", "retention.records=10\nretention.age=1h\n");
	assert_int_equal(sh(m, "for i in $(seq 30); do echo $i >> s/append; done"), 0);
	assert_int_equal(last_seq(m, "s"), 30);
	assert_true(first_seq(m, "s") <= 21);
	for (unsigned i = 21; i <= 30; i++)
		free(slurp(mp(m, "s/%u", i), NULL));
}

static void figures(void **state)
{
	struct mnt *m = *state;
	char value[256];

	make_stream(m, "s");
	assert_lines(m, "s/.stat", ' ');
	for (int i = 0; i < 7; i++)
		append(m, "s", "0123456789");
	must(unlink(mp(m, "s/1")));
	must(unlink(mp(m, "s/2")));
	assert_lines(m, "s/.stat", ' ');
	assert_value(m, "s/.stat", "first", "3");
	value_of(m, "s/.stat", "last", value);
	if (value[0])
		assert_string_equal(value, "7");
	value_of(m, "s/.stat", "durable", value);
	assert_true(strcmp(value, "1") == 0 || strcmp(value, "yes") == 0);
	set(m, "s/.config", "durable=no\n");
	value_of(m, "s/.stat", "durable", value);
	assert_true(strcmp(value, "0") == 0 || strcmp(value, "no") == 0);
	assert_int_equal(sh(m, "awk 'NF < 2 { exit 1 }' s/.stat .walfs/stats"), 0);
	assert_lines(m, ".walfs/stats", ' ');
}

static void store_files(void **state)
{
	struct mnt *m = *state;
	struct stat st;

	assert_int_equal(sh(m, "head -1 .walfs/status | grep -q '^ok'"), 0);
	assert_int_equal(sh(m, "test $(cat .walfs/version | wc -l) -ge 1 && grep -q '[0-9]' .walfs/version"), 0);
	make_stream(m, "s");
	for (int i = 0; i < 2; i++) {
		append(m, "s", "a");
		assert_int_equal(sh(m, "echo > .walfs/sync && echo 1 >> .walfs/sync && printf x > .walfs/sync"), 0);
		mnt_restart(m, "relaxed");
	}
	must(stat(mp(m, ".walfs/sync"), &st));
	assert_int_equal(st.st_mode & 022, 0);
	must(stat(mp(m, ".walfs/config"), &st));
	assert_int_equal(st.st_mode & 022, 0);
	assert_texts(m, "s", "a", "a");
	/* A relaxed stream becomes durable, with all that it has. */
	set(m, "s/.config", "durable=yes\n");
	append(m, "s", "b");
	mnt_kill(m);
	mnt_start(m, NULL);
	assert_texts(m, "s", "a", "a", "b");
}

static unsigned long syncs(const struct mnt *m)
{
	char value[256];

	value_of(m, ".walfs/stats", "syncs", value);
	return strtoul(value, NULL, 10);
}

/* fsync of whatever file of a relaxed stream, or of the store, makes the records durable. */
static void any_fsync(void **state)
{
	static const char *const names[] = { "s/1",           "s/1.hdr",      "s/1.msg",       "s/append",
					     "s/append.line", "s/append.msg", "s/.stat",       "s/.config",
					     "s/follow",      "s/new.follow", "s/1.follow",    "s",
					     ".walfs",        ".walfs/stats", ".walfs/config", "." };
	struct mnt *m = *state;

	make_stream(m, "s");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		append(m, "s", "x");
		int fd = (int)must(open(mp(m, "%s", names[i]), O_RDONLY | O_CLOEXEC));
		unsigned long before = syncs(m);

		must(fsync(fd));
		if (syncs(m) <= before)
			fail_msg("%s: nothing was synced", names[i]);
		must(close(fd));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(settings),
		MNT_TEST(wrong_settings),
		MNT_TEST(opening_changes_nothing),
		MNT_TEST(store_defaults),
		MNT_TEST(retention_keeps_what_it_should),
		MNT_TEST(figures),
		MNT_TEST(store_files),
		MNT_TEST_RELAXED(any_fsync),
	};

	return mnt_main("control", tests, sizeof(tests) / sizeof(*tests));
}
