/* SPDX-License-Identifier: MIT
 *
 * Offsets, holes and harmless calls, by the tools that make them, on each of the three append files: what a tool wrote is
 * there to the byte, or it was told; and what it did besides (touch, chmod, rm, a lock) has done nothing.
 */
#include "files.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct row {
	const char *script; /* of bash, with $F, the append file, and $T, where the sources are */
	const char *want;   /* a file in $T: what the stream has then, its records one after another. NULL: nothing */
	bool fails;         /* the tool says so */
	const char *tool;   /* that it takes, where that may be missing */
};

#define ED "printf 'a\\nhello\\n.\\nw\\nq\\n' | ed -s \"$F\" >$T/ed.out"
#define VIM "vim -es -c 'normal ihello' -c wq \"$F\" </dev/null"
#define PYTHON(program) "python3 -c '" program "' \"$F\""

static const struct row rows[] = {
	/* A hole is zeros, wherever it is. */
	{ .script = "cp $T/hole \"$F\"", .want = "hole" },
	{ .script = "cp --sparse=always $T/hole \"$F\"", .want = "hole" },
	{ .script = "cp --sparse=always $T/zeros \"$F\"", .want = "zeros" },
	{ .script = "cp --sparse=always $T/end \"$F\"", .want = "end" },
	{ .script = "cp --sparse=never $T/hole \"$F\"", .want = "hole" },
	{ .script = "cp $T/end \"$F\"", .want = "end" },
	{ .script = "cp $T/begin \"$F\"", .want = "begin" },
	{ .script = "cat $T/hole > \"$F\"", .want = "hole" },
	{ .script = "dd if=$T/hole of=\"$F\" conv=sparse bs=4k status=none", .want = "hole" },
	{ .script = "dd if=$T/end of=\"$F\" conv=sparse bs=4k status=none", .want = "end" },
	{ .script = "rsync --inplace --sparse $T/hole \"$F\"", .want = "hole", .tool = "rsync" },
	{ .script = "tar xOf $T/hole.tar > \"$F\"", .want = "hole" },
	/* Offsets run on from where the first write stands; with O_APPEND they mean nothing. */
	{ .script = "dd if=$T/small of=\"$F\" bs=2 seek=3 status=none", .want = "seek" },
	{ .script = "dd if=$T/small of=\"$F\" bs=2 seek=3 conv=notrunc status=none", .want = "seek" },
	{ .script = "dd if=$T/small of=\"$F\" bs=2 seek=3 conv=notrunc oflag=append status=none", .want = "small" },
	{ .script = "dd if=$T/small of=\"$F\" bs=1 conv=notrunc status=none", .want = "small" },
	{ .script = "dd if=$T/small of=\"$F\" oflag=append conv=notrunc status=none", .want = "small" },
	{ .script = "busybox dd if=$T/small of=\"$F\" bs=2 seek=3 2>/dev/null", .want = "seek", .tool = "busybox" },
	{ .script = PYTHON("import sys; f = open(sys.argv[1], \"r+\"); f.seek(6); f.write(\"a\\nb\\nc\\n\")"),
	  .want = "seek",
	  .tool = "python3" },
	{ .script = PYTHON(
		  "import sys; f = open(sys.argv[1], \"r+b\", 0); f.write(b\"a\\nb\\nc\\n\"); f.seek(2); f.write(b\"x\")") " 2>/dev/null",
	  .want = "small",
	  .fails = true, /* going back */
	  .tool = "python3" },
	{ .script = PYTHON("import sys; f = open(sys.argv[1], \"a\"); f.seek(99); f.write(\"a\\nb\\nc\\n\")"),
	  .want = "small",
	  .tool = "python3" },
	/* Copies with whatever comes along. */
	{ .script = "cp $T/small \"$F\"", .want = "small" },
	{ .script = "cp -f $T/small \"$F\"", .want = "small" },
	{ .script = "cp -p $T/small \"$F\"", .want = "small" },
	{ .script = "cp -a $T/small \"$F\"", .want = "small" },
	{ .script = "cp --preserve=all $T/small \"$F\"", .want = "small" },
	{ .script = "cp --reflink=auto $T/small \"$F\"", .want = "small" },
	{ .script = "busybox cp -p $T/small \"$F\"", .want = "small", .tool = "busybox" },
	{ .script = "rsync --inplace $T/small \"$F\"", .want = "small", .tool = "rsync" },
	{ .script = "rsync -a --inplace $T/small \"$F\"", .want = "small", .tool = "rsync" },
	{ .script = "rsync --append $T/small \"$F\"", .want = "small", .tool = "rsync" },
	{ .script = "tee \"$F\" < $T/small >/dev/null", .want = "small" },
	{ .script = "tee -a \"$F\" < $T/small >/dev/null", .want = "small" },
	{ .script = "sort -o \"$F\" $T/small", .want = "small" },
	{ .script = "xargs -n1 < $T/small >> \"$F\"", .want = "small" },
	/* What would put another file in its place is refused, and the source is still there. */
	{ .script = "cp $T/small $T/mine; mv $T/mine \"$F\" 2>/dev/null; r=$?; cmp $T/mine $T/small || exit 0; exit $r",
	  .fails = true },
	{ .script =
		  "cp $T/small $T/mine; mv -f $T/mine \"$F\" 2>/dev/null; r=$?; cmp $T/mine $T/small || exit 0; exit $r",
	  .fails = true },
	{ .script = "install $T/small \"$F\" 2>/dev/null", .fails = true },
	{ .script = "cp --remove-destination $T/small \"$F\" 2>/dev/null", .fails = true },
	{ .script = "cp --backup $T/small \"$F\" 2>/dev/null", .fails = true },
	{ .script = "rsync $T/small \"$F\" 2>/dev/null", .fails = true, .tool = "rsync" },
	{ .script = "ln -f $T/small \"$F\" 2>/dev/null", .fails = true },
	{ .script = "ln -sf $T/small \"$F\" 2>/dev/null", .fails = true },
	{ .script = "sed -i s/a/b/ \"$F\" 2>/dev/null", .fails = true },
	{ .script = "mv \"$F\" \"$F\".old 2>/dev/null", .fails = true },
	{ .script = "mv \"$F\" $T/taken 2>/dev/null; r=$?; rm -f $T/taken; exit $r", .want = NULL },
	{ .script = "split -b 2 $T/small \"$F\" 2>/dev/null", .fails = true },
	/* An editor's save writes the new text, of a file that reads as empty. */
	{ .script = ED, .want = "hello", .tool = "ed" },
	{ .script = VIM, .want = "hello", .tool = "vim" },
	/* Sizes: empty is nothing, longer is zeros, and of space there is none to be had in advance. */
	{ .script = "truncate -s 0 \"$F\"" },
	{ .script = "truncate -s 5 \"$F\"", .want = "five" },
	{ .script = "truncate -s +5 \"$F\"", .want = "five" },
	{ .script = ": > \"$F\"; > \"$F\"; cp /dev/null \"$F\"" },
	{ .script = "fallocate -l 100 \"$F\" 2>/dev/null", .fails = true },
	{ .script = "fallocate -n -l 100 \"$F\" 2>/dev/null", .fails = true },
	{ .script = "fallocate -p -l 100 \"$F\" 2>/dev/null", .fails = true },
	/* Harmless. */
	{ .script = "touch \"$F\"" },
	{ .script = "touch -c -d 2001-01-01 \"$F\" && test -z \"$(find \"$F\" -not -newermt 2002-01-01)\"" },
	{ .script = "chmod 000 \"$F\" && test $(stat -c %a \"$F\") = 644" },
	{ .script = "chown 1:1 \"$F\" && test $(stat -c %u:%g \"$F\") = 0:0" },
	{ .script = "rm \"$F\" && test -e \"$F\"" },
	{ .script = "flock \"$F\" flock -n \"$F\" false || flock \"$F\" true" },
	{ .script = "test -z \"$(cat \"$F\")\" && test -z \"$(tail -c 5 \"$F\")\" && test ! -s \"$F\"" },
	{ .script = "cp -u $T/small \"$F\"" }, /* it is newer: that is what -u asks */
	{ .script = "cp -n $T/small \"$F\" 2>/dev/null; true" },
};
enum { N_ROWS = sizeof(rows) / sizeof(*rows) };

static void make_sources(struct mnt *m)
{
	assert_int_equal(
		sh(m, "cd $T; printf 'a\\nb\\nc\\n' > small; printf 'hello\\n' > hello; head -c 5 /dev/zero > five\n"
		      "{ head -c 6 /dev/zero; cat small; } > seek; head -c 200000 /dev/zero > zeros\n"
		      "printf 'head\\n' > hole; truncate -s 1M hole; printf 'tail\\n' >> hole\n"
		      "printf 'head\\n' > end; truncate -s 300000 end\n"
		      "truncate -s 500000 begin; printf 'tail' >> begin\n"
		      "tar cSf hole.tar hole"),
		0);
}

/* The stream's records are the bytes of the file: all of them one record, or in append.line a record a line. */
static void assert_bytes(struct mnt *m, const struct row *row, const char *name)
{
	uint64_t last = last_seq(m, "s"), lines = 0;
	size_t len = 0;
	char *want = row->want ? slurp(tp(m, "%s", row->want), &len) : NULL;

	for (size_t i = 0; i < len; i++)
		lines += want[i] == '\n' || i + 1 == len;
	if (strcmp(name, "append.line") != 0)
		lines = row->want != NULL;
	free(want);
	if (last != lines)
		fail_msg("%s on %s: %llu records, not %llu", row->script, name, (unsigned long long)last,
			 (unsigned long long)lines);
	if (last > 0 && sh(m, "cat s/*[0-9] | cmp - $T/%s", row->want) != 0)
		fail_msg("%s on %s: other bytes", row->script, name);
}

static void all_rows(struct mnt *m, const char *name)
{
	mnt_watchdog(200);
	make_sources(m);
	for (unsigned i = 0; i < N_ROWS; i++) {
		const struct row *row = &rows[i];
		int code;

		if (row->tool && !have_tool(row->tool)) {
			tap_note("skip: %s is not installed: %s", row->tool, row->script);
			continue;
		}
		make_stream(m, "s");
		code = sh(m, "F=s/%s; %s", name, row->script);
		if ((code != 0) != row->fails)
			fail_msg("%s on %s: exit status %d", row->script, name, code);
		/* What a RELEASE commits is there for who asks afterwards. */
		assert_bytes(m, row, name);
		assert_int_equal(sh(m, "rm -r s"), 0);
	}
}

static void on_append(void **state)
{
	all_rows(*state, "append");
}

static void on_append_line(void **state)
{
	all_rows(*state, "append.line");
}

static void on_append_msg(void **state)
{
	all_rows(*state, "append.msg");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST_RELAXED(on_append),
		MNT_TEST_RELAXED(on_append_line),
		MNT_TEST_RELAXED(on_append_msg),
	};

	return mnt_main("offsets", tests, sizeof(tests) / sizeof(*tests));
}
