/* SPDX-License-Identifier: MIT
 *
 * N.msg: header, empty line, content, byte for byte; and EILSEQ where a header has no such form.
 */
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define MIB (1 << 20)

static void put_record(const struct mnt *m, struct bytes header, struct bytes content)
{
	if (header.len > 0)
		put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, header);
	put(mp(m, "s/append"), O_WRONLY, content);
}

/* The file has exactly these bytes and says so, in one read and in small ones. */
static void assert_message(const struct mnt *m, const char *path, struct bytes header, struct bytes content)
{
	size_t len = header.len + 1 + content.len;
	char *want = malloc(len), piece[7];
	struct stat st;
	size_t at = 0;
	long n;

	assert_non_null(want);
	if (header.len > 0)
		memcpy(want, header.base, header.len);
	want[header.len] = '\n';
	memcpy(want + header.len + 1, content.base, content.len);
	assert_file(mp(m, "%s", path), (struct bytes){ want, len });
	must(stat(mp(m, "%s", path), &st));
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_size, len);
	if (len < 100000) {
		int fd = (int)must(open(mp(m, "%s", path), O_RDONLY | O_DIRECT));

		while ((n = must(read(fd, piece, sizeof(piece)))) > 0) {
			assert_true(at + (size_t)n <= len);
			assert_memory_equal(piece, want + at, n);
			at += (size_t)n;
		}
		assert_int_equal(at, len);
		must(close(fd));
	}
	free(want);
}

static void the_form(void **state)
{
	static const struct {
		struct bytes header, content;
	} rows[] = {
		{ BYTES(""), BYTES("content") },
		{ BYTES(""), BYTES("\n") },
		{ BYTES(""), BYTES("a\n\nb\n") },
		{ BYTES("type: paid\n"), BYTES("content\n") },
		{ BYTES("{\"a\": 1}\n"), BYTES("\n\n") },
		{ BYTES("a\nb\nc\n"), BYTES("a\0b") },
		{ BYTES("\0\n"), BYTES("x") },
		{ BYTES("\r\n"), BYTES("x") },
	};
	enum { N = sizeof(rows) / sizeof(*rows) };
	struct mnt *m = *state;
	char path[40];

	make_stream(m, "s");
	for (unsigned i = 0; i < N; i++)
		put_record(m, rows[i].header, rows[i].content);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < N; i++) {
			(void)snprintf(path, sizeof(path), i % 2 ? "s/%u.msg" : "s/%010u.msg", i + 1);
			assert_message(m, path, rows[i].header, rows[i].content);
		}
		mnt_restart(m, NULL);
	}
	assert_file(mp(m, "s/00004.msg"), BYTES("type: paid\n\ncontent\n"));
	assert_file(mp(m, "s/1.msg"), BYTES("\ncontent"));
}

static void empty_content(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("h\n"));
	assert_int_equal(sh(m, "truncate -s 0 s/append; head -c 0 /dev/null > s/append"), 0);
	assert_absent(mp(m, "s/1.msg")); /* that made no record */
	assert_absent(mp(m, "s/0.msg"));
	assert_absent(mp(m, "s/x.msg"));
	assert_absent(mp(m, "s/.msg"));
	append(m, "s", "x");
	assert_file(mp(m, "s/1.msg"), BYTES("h\n\nx"));
}

static void no_such_form(void **state)
{
	static const struct bytes headers[] = { BYTES("no newline"), BYTES("\n"),         BYTES("\na\n"),
						BYTES("a\n\nb\n"),   BYTES("a\n\n"),      BYTES("a\nb"),
						BYTES("a\n\nb"),     BYTES("a\nb\n\n\n"), BYTES("a\r\n\r") };
	enum { N = sizeof(headers) / sizeof(*headers) };
	struct mnt *m = *state;
	struct stat st;

	make_stream(m, "s");
	for (unsigned i = 0; i < N; i++)
		put_record(m, headers[i], BYTES("content"));
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < N; i++) {
			assert_errno(open(mp(m, "s/%u.msg", i + 1), O_RDONLY), EILSEQ);
			assert_errno(stat(mp(m, "s/%u.msg", i + 1), &st), EILSEQ);
			assert_file(mp(m, "s/%u", i + 1), BYTES("content"));
			assert_file(mp(m, "s/%u.hdr", i + 1), headers[i]);
		}
		mnt_restart(m, NULL);
	}
}

static void large(void **state)
{
	struct mnt *m = *state;
	struct bytes header = { NULL, 65535 }, content = { NULL, 3 * MIB + 17 };
	char *h = malloc(header.len), *c = malloc(content.len);

	assert_true(h && c);
	memset(h, 'h', header.len);
	for (size_t i = 99; i < header.len; i += 100)
		h[i] = '\n';
	h[header.len - 1] = '\n';
	fill_bytes(c, content.len, 1, 0);
	header.base = h;
	content.base = c;
	make_stream(m, "s");
	put_record(m, header, content);
	put_record(m, (struct bytes){ NULL, 0 }, content);
	mnt_restart(m, NULL);
	assert_message(m, "s/1.msg", header, content);
	assert_message(m, "s/2.msg", (struct bytes){ NULL, 0 }, content);
	assert_int_equal(sh(m, "cp s/1.msg $T/a && cat s/1.msg > $T/b && cmp $T/a $T/b && cmp s/1.msg $T/a && "
			       "{ cat s/1.hdr; echo; cat s/1; } | cmp - $T/a"),
			 0);
	if (have_tool("python3"))
		assert_int_equal(sh(m,
				    "python3 -c 'import shutil, sys; shutil.copyfile(*sys.argv[1:])' s/1.msg $T/c && "
				    "cmp $T/a $T/c"),
				 0);
	free(h);
	free(c);
}

static void never_listed_never_changed(void **state)
{
	struct mnt *m = *state;
	char **names;
	struct stat st, record;

	make_stream(m, "s");
	put_record(m, BYTES("h\n"), BYTES("one"));
	must(stat(mp(m, "s/1.msg"), &st));
	names = names_of(mp(m, "s"), NULL);
	assert_false(names_have(names, "1.msg"));
	assert_false(names_have(names, "0000000001.msg"));
	names_free(names);
	must(stat(mp(m, "s/1"), &record));
	assert_int_not_equal(st.st_ino, record.st_ino);
	assert_memory_equal(&st.st_mtim, &record.st_mtim, sizeof(st.st_mtim));
	assert_int_equal(st.st_mode, record.st_mode);
	assert_errno(open(mp(m, "s/1.msg"), O_WRONLY), EPERM);
	assert_errno(open(mp(m, "s/1.msg"), O_RDWR), EPERM);
	assert_errno(truncate(mp(m, "s/1.msg"), 0), EPERM);
	assert_errno(open(mp(m, "s/2.msg"), O_RDONLY), ENOENT);
}

static void trimmed_and_damaged(void **state)
{
	struct mnt *m = *state;
	char buf[64];
	int fd;

	make_stream(m, "s");
	put_record(m, BYTES("h\n"), BYTES("one"));
	put_record(m, BYTES("h\n"), BYTES("two"));
	put_record(m, BYTES("<head>\n"), BYTES("three"));
	put_record(m, BYTES("h\n"), BYTES("<content>"));
	put_record(m, BYTES("h\n"), BYTES("five"));
	fd = (int)must(open(mp(m, "s/1.msg"), O_RDONLY));
	assert_file(mp(m, "s/1.msg"), BYTES("h\n\none"));
	must(unlink(mp(m, "s/1")));
	assert_errno(open(mp(m, "s/1.msg"), O_RDONLY), ENOENT);
	assert_errno(open(mp(m, "s/0000000001.msg"), O_RDONLY), ENOENT);
	assert_int_equal(must(read(fd, buf, sizeof(buf))), 6);
	assert_memory_equal(buf, "h\n\none", 6);
	must(close(fd));

	m->log_may_complain = true;
	m->verify_code = 1;
	mnt_stop(m);
	flip_bit(m, "s", "<head>", 2);
	flip_bit(m, "s", "<content>", 3);
	mnt_start(m, NULL);
	assert_errno(open(mp(m, "s/3.msg"), O_RDONLY), EIO);
	fd = open(mp(m, "s/4.msg"), O_RDONLY);
	if (fd >= 0) {
		assert_errno(read(fd, buf, sizeof(buf)), EIO);
		must(close(fd));
	} else {
		assert_int_equal(errno, EIO);
	}
	assert_file(mp(m, "s/2.msg"), BYTES("h\n\ntwo"));
	assert_file(mp(m, "s/5.msg"), BYTES("h\n\nfive"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(the_form),
		MNT_TEST(empty_content),
		MNT_TEST(no_such_form),
		MNT_TEST(large),
		MNT_TEST(never_listed_never_changed),
		MNT_TEST(trimmed_and_damaged),
	};

	return mnt_main("msg_read", tests, sizeof(tests) / sizeof(*tests));
}
