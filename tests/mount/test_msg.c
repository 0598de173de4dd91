/* SPDX-License-Identifier: MIT
 *
 * append.msg: what of a message is header and what content, however it is cut into writes; its limits; and that N.msg
 * written to it is the same record again.
 */
#include "files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define MIB (1 << 20)
#define MSG "s/append.msg"
#define HEADER_MAX 65535

struct form {
	struct bytes message, header, content;
};

static const struct form forms[] = {
	{ BYTES("h\n\ncontent"), BYTES("h\n"), BYTES("content") },
	{ BYTES("a: 1\nb: 2\n\none\n\ntwo\n"), BYTES("a: 1\nb: 2\n"), BYTES("one\n\ntwo\n") },
	{ BYTES("\ncontent\n"), BYTES(""), BYTES("content\n") },
	{ BYTES("\n\ncontent"), BYTES(""), BYTES("\ncontent") },
	{ BYTES("\nh\n\nc"), BYTES(""), BYTES("h\n\nc") },
	{ BYTES("content"), BYTES(""), BYTES("content") },
	{ BYTES("one\ntwo\nthree\n"), BYTES(""), BYTES("one\ntwo\nthree\n") },
	{ BYTES("h\n\n"), BYTES("h\n"), BYTES("") },
	{ BYTES("h\n\n\n"), BYTES("h\n"), BYTES("\n") },
	{ BYTES("\n"), BYTES(""), BYTES("") },
	{ BYTES("\n\n"), BYTES(""), BYTES("\n") },
	{ BYTES("x"), BYTES(""), BYTES("x") },
	{ BYTES("h\r\n\r\nc"), BYTES(""), BYTES("h\r\n\r\nc") }, /* a carriage return makes a line not empty */
	{ BYTES("\0\n\n\0\xff"), BYTES("\0\n"), BYTES("\0\xff") },
};
enum { N_FORMS = sizeof(forms) / sizeof(*forms) };

static int open_msg(const struct mnt *m, int flags)
{
	return (int)must(open(mp(m, MSG), O_WRONLY | O_CLOEXEC | flags));
}

static void assert_form(const struct mnt *m, uint64_t seq, const struct form *form)
{
	assert_int_equal(last_seq(m, "s"), seq);
	assert_file(mp(m, "s/%llu", (unsigned long long)seq), form->content);
	assert_file(mp(m, "s/%llu.hdr", (unsigned long long)seq), form->header);
}

static void forms_in_one_write(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	for (unsigned i = 0; i < N_FORMS; i++) {
		put(mp(m, MSG), i % 2 ? O_WRONLY | O_APPEND : O_WRONLY | O_TRUNC, forms[i].message);
		assert_form(m, i + 1, &forms[i]);
	}
	mnt_restart(m, NULL);
	for (unsigned i = 0; i < N_FORMS; i++) {
		assert_file(mp(m, "s/%u", i + 1), forms[i].content);
		assert_file(mp(m, "s/%u.hdr", i + 1), forms[i].header);
	}
}

/* The same, cut in two at each place, and byte by byte. */
static void forms_in_pieces(void **state)
{
	struct mnt *m = *state;
	uint64_t seq = 0;

	make_stream(m, "s");
	for (unsigned i = 0; i < N_FORMS; i++) {
		const char *base = forms[i].message.base;
		size_t len = forms[i].message.len;

		for (size_t cut = 1; cut < len; cut++) {
			int fd = open_msg(m, O_APPEND);

			write_all(fd, base, cut);
			assert_int_equal(last_seq(m, "s"), seq);
			write_all(fd, base + cut, len - cut);
			must(close(fd));
			assert_form(m, ++seq, &forms[i]);
		}
		int fd = open_msg(m, 0);

		for (size_t at = 0; at < len; at++)
			write_all(fd, base + at, 1);
		must(close(fd));
		assert_form(m, ++seq, &forms[i]);
	}
	assert_int_equal(sh(m, "grep -q '^pending_memory_bytes *0$' .walfs/stats"), 0);
}

/* What cannot be copied by way of N.msg are headers of another form, which append.hdr takes. */
static void copies(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	make_stream(m, "copy");
	for (unsigned i = 0; i < N_FORMS; i++) {
		put(mp(m, MSG), O_WRONLY, forms[i].message);
		assert_int_equal(sh(m, "cat s/%u.msg >> copy/append.msg", i + 1), 0);
	}
	for (unsigned i = 0; i < N_FORMS; i++) {
		assert_file(mp(m, "copy/%u", i + 1), forms[i].content);
		assert_file(mp(m, "copy/%u.hdr", i + 1), forms[i].header);
	}
	make_file(tp(m, "big"), 5 * MIB, 3);
	assert_int_equal(sh(m,
			    "{ printf 'type: big\\n\\n'; cat $T/big; } > s/append.msg &&"
			    "cp s/%u.msg copy/append.msg && cmp copy/last $T/big",
			    N_FORMS + 1),
			 0);
	assert_file(mp(m, "copy/%u.hdr", N_FORMS + 1), BYTES("type: big\n"));
}

/* Packets: one write is one message, committed within it. */
static void packets(void **state)
{
	static const int flags[] = { O_DIRECT, O_DSYNC, O_SYNC, O_DIRECT | O_APPEND };
	struct mnt *m = *state;
	uint64_t seq = 0;

	make_stream(m, "s");
	for (unsigned f = 0; f < sizeof(flags) / sizeof(*flags); f++) {
		int fd = open_msg(m, flags[f]);

		for (unsigned i = 0; i < N_FORMS; i++) {
			write_all(fd, forms[i].message.base, forms[i].message.len);
			assert_form(m, ++seq, &forms[i]);
		}
		must(close(fd));
		assert_int_equal(last_seq(m, "s"), seq);
	}
	/* A large one, of which all is content. */
	char *large = malloc(MIB);
	int fd = open_msg(m, O_DIRECT);

	assert_non_null(large);
	memset(large, 'x', MIB);
	write_all(fd, large, MIB - 4096);
	assert_form(m, ++seq, &(struct form){ .content = { large, MIB - 4096 } });
	assert_errno(write(fd, large, MIB - 4095), EMSGSIZE);
	must(close(fd));
	assert_int_equal(last_seq(m, "s"), seq);
	free(large);
}

static void commits_as_append(void **state)
{
	struct mnt *m = *state;
	int fd, copy;

	make_stream(m, "s");
	must(close(open_msg(m, O_TRUNC)));
	assert_no_records(m, "s");
	fd = open_msg(m, O_APPEND);
	copy = (int)must(dup(fd));
	write_all(fd, "h", 1);
	must(close(fd)); /* not the last descriptor */
	assert_no_records(m, "s");
	write_all(copy, "\n\nc", 3);
	must(fsync(copy));
	assert_form(m, 1, &(struct form){ .header = BYTES("h\n"), .content = BYTES("c") });
	write_all(copy, "i\n\nd", 4);
	must(close(copy));
	assert_form(m, 2, &(struct form){ .header = BYTES("i\n"), .content = BYTES("d") });

	for (unsigned i = 0; i < 3; i++) {
		pid_t pid = run_fork();

		if (pid == 0) {
			fd = open(mp(m, MSG), O_WRONLY);
			if (i == 0 ? write(fd, "head", 4) == 4 : write(fd, "head\n\n", 6) == 6)
				(void)raise(i == 2 ? SIGINT : SIGKILL);
			_exit(1);
		}
		assert_true(run_reap(pid, 20) > 128);
	}
	/* The staged header is append's. */
	put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("staged"));
	put(mp(m, MSG), O_WRONLY, BYTES("plain"));
	assert_form(m, 3, &(struct form){ .header = BYTES(""), .content = BYTES("plain") });
	append(m, "s", "next");
	assert_form(m, 4, &(struct form){ .header = BYTES("staged"), .content = BYTES("next") });
	mnt_restart(m, NULL);
	assert_int_equal(last_seq(m, "s"), 4);
}

/* Writes a header of `len` bytes in pieces, its empty line and a content. Returns the errno of the first write that
 * fails, or of the close. */
static int put_header(const struct mnt *m, size_t len, size_t piece)
{
	char *text = malloc(len + 4);
	int fd = open_msg(m, O_APPEND), err = 0;

	assert_non_null(text);
	memset(text, 'h', len);
	memcpy(text + len - 1, "\n\nct", 4);
	for (size_t at = 0; at < len + 3 && !err; at += piece) {
		size_t n = len + 3 - at < piece ? len + 3 - at : piece;

		if (write(fd, text + at, n) < 0)
			err = errno;
	}
	if (err) /* all that comes fails alike, the close too */
		assert_errno(write(fd, "x", 1), err);
	if (err)
		assert_errno(close(fd), err);
	else
		must(close(fd));
	free(text);
	return err;
}

static void long_headers(void **state)
{
	static const size_t pieces[] = { 1000000, 4096, 65535, 65536, 1000 };
	struct mnt *m = *state;
	char *header = malloc(HEADER_MAX);
	uint64_t seq = 0;

	assert_non_null(header);
	memset(header, 'h', HEADER_MAX);
	header[HEADER_MAX - 1] = '\n';
	make_stream(m, "s");
	for (unsigned i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		assert_int_equal(put_header(m, HEADER_MAX, pieces[i]), 0);
		assert_form(m, ++seq, &(struct form){ .header = { header, HEADER_MAX }, .content = BYTES("ct") });
		assert_int_equal(put_header(m, HEADER_MAX + 1, pieces[i]), E2BIG);
		assert_int_equal(put_header(m, 200000, pieces[i]), E2BIG);
		assert_int_equal(put_header(m, 2 * MIB, pieces[i]), E2BIG);
		assert_int_equal(last_seq(m, "s"), seq);
	}
	assert_int_equal(sh(m, "grep -q '^pending_memory_bytes *0$' .walfs/stats"), 0);
	free(header);
}

/* Without an empty line all is content, of any size. */
static void plain(void **state)
{
	static const size_t sizes[] = { 65534, 65535, 65536, 65537, 100000, MIB, 3 * MIB + 1 };
	struct mnt *m = *state;

	make_stream(m, "s");
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		assert_int_equal(sh(m,
				    "head -c %zu /dev/zero | tr '\\0' x > $T/plain && cp $T/plain s/append.msg &&"
				    "cmp $T/plain s/last && dd if=$T/plain of=s/append.msg bs=777 status=none &&"
				    "cmp $T/plain s/last && seq 1 %zu > $T/plain && cat $T/plain >> s/append.msg &&"
				    "cmp $T/plain s/last",
				    sizes[i], sizes[i] / 7),
				 0);
		assert_file(mp(m, "s/%u.hdr", 3 * i + 1), BYTES(""));
		assert_int_equal(last_seq(m, "s"), 3 * i + 3);
	}
}

static void too_large(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	put(mp(m, "s/.config"), O_WRONLY, BYTES("max_record=10\n"));
	put(mp(m, MSG), O_WRONLY, BYTES("a header longer than that\n\n0123456789"));
	assert_form(m, 1,
		    &(struct form){ .header = BYTES("a header longer than that\n"), .content = BYTES("0123456789") });
	fd = open_msg(m, O_APPEND);
	assert_errno(write(fd, "h\n\n0123456789a", 14), EFBIG);
	assert_errno(write(fd, "x", 1), EFBIG);
	assert_errno(close(fd), EFBIG);
	fd = open_msg(m, O_DIRECT);
	assert_errno(write(fd, "h\n\n0123456789a", 14), EFBIG);
	write_all(fd, "h\n\n0123456789", 13);
	must(close(fd));
	assert_form(m, 2, &(struct form){ .header = BYTES("h\n"), .content = BYTES("0123456789") });
}

static void offsets(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	fd = open_msg(m, 0);
	assert_int_equal(must(pwrite(fd, "h\n", 2, 0)), 2);
	assert_int_equal(must(pwrite(fd, "\n\nc", 3, 4)), 3); /* the hole is two zeros of the header */
	assert_errno(pwrite(fd, "x", 1, 3), ESPIPE);
	must(ftruncate(fd, 9));
	must(close(fd));
	assert_form(m, 1, &(struct form){ .header = BYTES("h\n\0\0\n"), .content = BYTES("c\0\0") });
	assert_errno(truncate(mp(m, MSG), 1), EPERM);
	must(truncate(mp(m, MSG), 0));
	/* O_DIRECT with a hole in front of a write that goes to a worker: zeros and bytes are one record. */
	char *large = calloc(1, 900000);

	assert_non_null(large);
	fd = open_msg(m, O_DIRECT);
	assert_int_equal(must(pwrite(fd, large, 900000, 200000)), 900000);
	must(close(fd));
	free(large);
	large = calloc(1, 1100000);
	assert_non_null(large);
	assert_form(m, 2, &(struct form){ .header = BYTES(""), .content = { large, 1100000 } });
	free(large);
	assert_int_equal(last_seq(m, "s"), 2);
}

static void shells(void **state)
{
	static const char *const names[] = { "bash", "dash", "busybox" };
	struct mnt *m = *state;

	for (unsigned i = 0; i < 3; i++) {
		if (!have_tool(names[i])) {
			tap_note("%s is not installed: not tried", names[i]);
			continue;
		}
		make_stream(m, "s");
		assert_int_equal(
			sh_with(m, names[i],
				"cd s; header='{\"type\": \"paid\"}'; content='one\n\ntwo'\n"
				"printf '%s\\n\\n%s' \"$header\" \"$content\" >> append.msg\n"
				"test \"$(cat 1.hdr)\" = \"$header\" && test \"$(cat 1)\" = \"$content\" || exit 1\n"
				"{ echo \"$header\"; echo; echo \"$content\"; } > append.msg\n"
				"test \"$(cat 2.hdr)\" = \"$header\" && test \"$(cat 2)\" = \"$content\" || exit 2\n"
				"echo >> append.msg; test -e 3 && test ! -s 3 && test ! -s 3.hdr || exit 3\n"
				"printf 'h\\n\\n' > append.msg; test ! -s 4 && test \"$(cat 4.hdr)\" = h || exit 4\n"
				"exec 3>> append.msg; echo a >&3; echo >&3; /bin/echo b >&3; test ! -e 5 || exit 5\n"
				"exec 3>&-; test \"$(cat 5.hdr)\" = a && test \"$(cat 5)\" = b || exit 6\n"),
			0);
		assert_int_equal(sh(m, "rm -r s"), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(forms_in_one_write),      MNT_TEST(forms_in_pieces), MNT_TEST(copies), MNT_TEST(packets),
		MNT_TEST(commits_as_append),       MNT_TEST(long_headers),    MNT_TEST(plain),  MNT_TEST(too_large),
		MNT_TEST_RELAXED(forms_in_pieces), MNT_TEST(offsets),         MNT_TEST(shells),
	};

	return mnt_main("msg", tests, sizeof(tests) / sizeof(*tests));
}
