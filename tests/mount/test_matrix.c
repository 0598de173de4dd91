/* SPDX-License-Identifier: MIT
 *
 * The tool matrix: what each tool makes of `append` and `append.line`, whether it tells of an error, and what it reads.
 * The table is the one in the manual, walfs(1): each row is run, and must be found there word by word.
 */
#include "files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define LINES "111\n222\n333\n"
#define FOURTH "444\n"
#define PATIENCE_S 20
#define IMPATIENCE_S 0.5

/* Scripts for bash. $I is a file of three lines of JSON, $F what is written or read, $O a file for what was read. */
struct row {
	const char *name;
	const char *tool;
	const char *write; /* or NULL */
	const char *read;  /* to standard output, or NULL */
	const char *want;  /* what is written, made by a script from $I; NULL: the file itself */
};

#define LOOP_WRITE(shell) shell " -c 'while read -r l; do echo \"$l\"; done < $I >> $F'"
#define LOOP_READ(shell) shell " -c 'while read -r l; do echo \"$l\"; done < $F'"

static const struct row rows[] = {
	{ "bash, echo", "bash", LOOP_WRITE("bash"), LOOP_READ("bash"), NULL },
	{ "dash, echo", "dash", LOOP_WRITE("dash"), LOOP_READ("dash"), NULL },
	{ "busybox sh, echo", "busybox", LOOP_WRITE("busybox sh"), LOOP_READ("busybox sh"), NULL },
	{ "bash, printf", "bash", "bash -c 'printf \"%s\\n\" $(<$I) >> $F'", "bash -c 'printf \"%s\\n\" \"$(<$F)\"'",
	  NULL },
	{ "cat", "cat", "cat $I >> $F", "cat $F", NULL },
	{ "busybox cat", "busybox", "busybox cat $I >> $F", "busybox cat $F", NULL },
	{ "cp", "cp", "cp $I $F", "cp $F /dev/stdout", NULL },
	{ "cp -p", "cp", "cp -p $I $F", "cp -p $F $O && cat $O", NULL },
	{ "busybox cp", "busybox", "busybox cp $I $F", "busybox cp $F $O && cat $O", NULL },
	{ "install", "install", "install $I $F", "install $F $O && cat $O", NULL },
	{ "mv", "mv", "cp $I $O && mv $O $F", NULL, NULL },
	{ "tee -a", "tee", "tee -a $F < $I > /dev/null", "tee < $F", NULL },
	{ "head", "head", "head -n 3 $I >> $F", "head -n 3 $F", NULL },
	{ "tail", "tail", "tail -n +1 $I >> $F", "tail -n +1 $F", NULL },
	{ "tail -f", "tail", NULL, "tail -n +1 -s 0.1 -f $F", NULL },
	{ "sort", "sort", "sort -o $F $I", "sort $F", NULL },
	{ "grep", "grep", "grep . $I >> $F", "grep --line-buffered . $F", NULL },
	{ "sed", "sed", "sed -n \"w $F\" $I", "sed -u '' $F", NULL },
	{ "sed -i", "sed", "sed -i \"r $I\" $F", NULL, NULL },
	{ "dd", "dd", "dd if=$I of=$F status=none", "dd if=$F status=none", NULL },
	{ "dd bs=4 oflag=direct", "dd", "dd if=$I of=$F bs=4 oflag=direct status=none",
	  "dd if=$F bs=4096 iflag=direct status=none", NULL },
	{ "dd oflag=append", "dd", "dd if=$I of=$F oflag=append conv=notrunc status=none", NULL, NULL },
	{ "mawk", "mawk", "mawk -v F=$F '{ print >> F }' $I", "mawk '{ print; fflush() }' $F", NULL },
	{ "busybox awk", "busybox", "busybox awk -v F=$F '{ print >> F }' $I", "busybox awk '{ print; fflush() }' $F",
	  NULL },
	{ "perl", "perl",
	  "perl -e 'open I, $ARGV[0]; open F, \">>\", $ARGV[1] or die; while (<I>) { print F or die } close F or die' $I $F",
	  "perl -pe 'BEGIN { $| = 1 }' $F", NULL },
	{ "python3", "python3",
	  "python3 -c 'import sys\nwith open(sys.argv[2], \"a\") as f: f.writelines(open(sys.argv[1]))' $I $F",
	  "python3 -uc 'import sys; [print(l, end=\"\") for l in open(sys.argv[1])]' $F", NULL },
	{ "python3, shutil", "python3",
	  "python3 -c 'import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])' $I $F",
	  "python3 -c 'import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])' $F $O && cat $O", NULL },
	{ "node, appendFileSync", "node",
	  "node -e 'const fs = require(\"fs\"); fs.appendFileSync(process.argv[2], fs.readFileSync(process.argv[1]))' $I $F",
	  "node -e 'process.stdout.write(require(\"fs\").readFileSync(process.argv[1]))' $F", NULL },
	{ "node, streams", "node",
	  "node -e 'const fs = require(\"fs\"); fs.createReadStream(process.argv[1]).pipe(fs.createWriteStream(process.argv[2], "
	  "{ flags: \"a\" }))' $I $F",
	  "node -e 'require(\"fs\").createReadStream(process.argv[1]).pipe(process.stdout)' $F", NULL },
	{ "jq", "jq", "jq -c . $I >> $F", "jq --unbuffered -c . $F", NULL },
	{ "tar", "tar", "tar -cf $F -C ${I%/*} ${I##*/}", "tar -cf - $F | tar -xOf -",
	  "tar -cf - -C ${I%/*} ${I##*/}" },
	{ "rsync", "rsync", "rsync $I $F", "rsync $F $O && cat $O", NULL },
	{ "rsync --inplace", "rsync", "rsync --inplace $I $F", "rsync --inplace $F $O && cat $O", NULL },
	{ "ed", "ed", "printf 'r %s\\nw %s\\nq\\n' $I $F | ed -s", "printf '%s\\n' ,p q | ed -s $F", NULL },
	{ "xargs", "xargs", "xargs -n 1 -a $I sh -c 'echo $1 >> $0' $F", "xargs -n 1 -a $F echo", NULL },
};

#define N_ROWS (sizeof(rows) / sizeof(*rows))

/* One row of the manual, cut at its columns. */
enum column { NAME, APPEND, LINE, ERROR, READS, COLUMNS };
struct row_text {
	char text[COLUMNS][80];
};

static struct row_text manual[2 * N_ROWS];
static size_t n_manual;
static unsigned n_streams;

/* ---- the manual ---------------------------------------------------------------------------------------- */

static void read_manual(void)
{
	FILE *f = fopen(getenv("WALFS_MANUAL"), "re");
	char line[512];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char *at = line + 4, *cell;

		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, ".It ", 4) != 0 || strncmp(line, ".It Em", 6) == 0 || !strstr(line, " Ta "))
			continue;
		assert_true(n_manual < sizeof(manual) / sizeof(*manual));
		for (int c = 0; c < COLUMNS && at; c++) {
			cell = at;
			at = strstr(at, " Ta ");
			if (at) {
				*at = '\0';
				at += 4;
			}
			(void)snprintf(manual[n_manual].text[c], sizeof(manual[0].text[c]), "%.79s", cell);
		}
		n_manual++;
	}
	(void)fclose(f);
}

static const struct row_text *in_manual(const char *name)
{
	for (size_t i = 0; i < n_manual; i++)
		if (strcmp(manual[i].text[NAME], name) == 0)
			return &manual[i];
	return NULL;
}

/* ---- cells --------------------------------------------------------------------------------------------- */

static void set_paths(const struct mnt *m, const char *file)
{
	must(setenv("I", tp(m, "in"), 1));
	must(setenv("F", file, 1));
	must(setenv("O", tp(m, "out"), 1));
}

/* Runs a script; what it prints goes to out-read. Returns its exit status. */
static int tool(const struct mnt *m, const char *script, const char *file)
{
	struct run r = { .argv = (const char *const[]){ "bash", "-c", script, NULL }, .dir = m->at, .deadline_s = 60 };
	int code;

	set_paths(m, file);
	run_cmd(&r);
	code = r.code;
	put(tp(m, "out-read"), O_WRONLY | O_CREAT | O_TRUNC, (struct bytes){ r.out, r.out_len });
	run_free(&r);
	return code;
}

/* The same in a session of its own, in the background, into out-follow. What it writes is bounded: some tools take the size of
 * follow for what it has, and fill up what is missing. */
static pid_t tool_in_background(const struct mnt *m, const char *script, const char *file)
{
	int fd = (int)must(open(tp(m, "out-follow"), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644));
	struct rlimit limit = { 1 << 20, 1 << 20 };
	int ready[2];
	pid_t pid;
	char c;

	set_paths(m, file);
	must(pipe2(ready, O_CLOEXEC));
	pid = run_fork();
	if (pid == 0) {
		(void)setsid();
		(void)dup2(fd, 1);
		if (setrlimit(RLIMIT_FSIZE, &limit) == 0 && write(ready[1], "", 1) == 1)
			(void)execlp("bash", "bash", "-c", script, NULL);
		_exit(127);
	}
	must(close(ready[1]));
	assert_int_equal(must(read(ready[0], &c, 1)), 1); /* it has its session, by which it can be ended */
	must(close(ready[0]));
	must(close(fd));
	return pid;
}

/* All of the session. Zombies of it can stay a while: who inherits them is not ours to say. */
static void end_session(pid_t pid)
{
	(void)kill(-pid, SIGKILL); /* it may be through */
	(void)run_reap(pid, 20);
	(void)kill(-pid, SIGKILL);
}

static char *contents(const struct mnt *m, const char *stream, uint64_t n)
{
	char *all = strdup("");

	for (uint64_t seq = 1; seq <= n; seq++) {
		size_t len, had = strlen(all);
		char *one = slurp(mp(m, "%s/%lu", stream, (unsigned long)seq), &len);

		all = realloc(all, had + strlen(one) + 1);
		assert_non_null(all);
		memcpy(all + had, one, strlen(one) + 1);
		free(one);
	}
	return all;
}

/* Writes by the tool; the cell is the number of records that hold just what was written, "none" or "other bytes". */
static void write_cell(struct mnt *m, const struct row *row, const char *to, char cell[80])
{
	char stream[16], *got;
	const char *want = LINES;
	char *made = NULL;

	(void)snprintf(stream, sizeof(stream), "w%u", ++n_streams);
	make_stream(m, stream);
	(void)tool(m, row->write, mp(m, "%s/%s", stream, to));
	uint64_t n = last_seq(m, stream);
	if (row->want) {
		assert_int_equal(tool(m, row->want, ""), 0);
		size_t len;
		want = made = slurp(tp(m, "out-read"), &len);
	}
	got = contents(m, stream, n);
	if (n == 0)
		(void)snprintf(cell, 80, "none");
	else if (strcmp(got, want) != 0)
		(void)snprintf(cell, 80, "other bytes");
	else
		(void)snprintf(cell, 80, "%lu", (unsigned long)n);
	free(got);
	free(made);
}

/* The stream takes no more than three bytes a record: the write fails. */
static void error_cell(struct mnt *m, const struct row *row, char cell[80])
{
	char stream[16];

	(void)snprintf(stream, sizeof(stream), "e%u", ++n_streams);
	make_stream(m, stream);
	put(mp(m, "%s/.config", stream), O_WRONLY, BYTES("max_record=3\n"));
	int code = tool(m, row->write, mp(m, "%s/append", stream));
	assert_int_equal(last_seq(m, stream), 0);
	(void)snprintf(cell, 80, "%s", code ? "yes" : "no");
}

static bool reads_file(struct mnt *m, const struct row *row, const char *path)
{
	size_t len;

	(void)tool(m, row->read, path);
	char *got = slurp(tp(m, "out-read"), &len);
	bool same = strcmp(got, LINES) == 0;
	free(got);
	return same;
}

static bool comes(const char *path, const char *want, double seconds)
{
	double deadline = deadline_after(seconds);

	for (;;) {
		bool same = false;

		if (access(path, F_OK) == 0) {
			size_t len;
			char *got = slurp(path, &len);

			same = strcmp(got, want) == 0;
			free(got);
		}
		if (same || !deadline_pause(deadline))
			return same;
	}
}

/* Does it show what is there, and then what comes? `hoped` is what the manual says: for the rest nobody waits long. */
static bool follows(const struct mnt *m, const struct row *row, const char *name, bool hoped)
{
	const char *out = tp(m, strstr(row->read, "$O") ? "out" : "out-follow");
	double seconds = hoped ? PATIENCE_S : IMPATIENCE_S;
	char stream[16];
	bool good;
	pid_t pid;

	(void)snprintf(stream, sizeof(stream), "f%u", ++n_streams);
	make_stream(m, stream);
	append(m, stream, LINES);
	(void)unlink(tp(m, "out")); /* may not be there */
	pid = tool_in_background(m, row->read, mp(m, "%s/%s", stream, name));
	good = comes(out, LINES, seconds);
	append(m, stream, FOURTH);
	good = good && comes(out, LINES FOURTH, seconds);
	end_session(pid);
	return good;
}

static void reads_cell(struct mnt *m, const struct row *row, const char *hope, char cell[80])
{
	bool tails = strcmp(row->name, "tail -f") == 0, record = false, all, follow;
	char stream[16];

	(void)snprintf(stream, sizeof(stream), "r%u", ++n_streams);
	make_stream(m, stream);
	append(m, stream, LINES);
	if (!tails)
		record = reads_file(m, row, mp(m, "%s/1", stream));
	all = tails ? follows(m, row, "all", strstr(hope, "all")) : reads_file(m, row, mp(m, "%s/all", stream));
	follow = follows(m, row, "follow", strstr(hope, "follow"));
	(void)snprintf(cell, 80, "%s%s%s", record ? " record" : "", all ? " all" : "", follow ? " follow" : "");
	if (*cell)
		memmove(cell, cell + 1, strlen(cell));
	else
		(void)snprintf(cell, 80, "none");
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static struct mnt *shared;

static void one_row(void **state)
{
	const struct row *row = *state;
	struct row_text got = { .text = { [APPEND] = "-", [LINE] = "-", [ERROR] = "-", [READS] = "-" } };
	const struct row_text *want = in_manual(row->name);

	need_tool(row->tool);
	mnt_watchdog(120);
	(void)snprintf(got.text[NAME], sizeof(got.text[NAME]), "%s", row->name);
	if (row->write) {
		write_cell(shared, row, "append", got.text[APPEND]);
		if (strcmp(row->name, "tar") != 0)
			write_cell(shared, row, "append.line", got.text[LINE]);
		error_cell(shared, row, got.text[ERROR]);
	}
	if (row->read)
		reads_cell(shared, row, want ? want->text[READS] : "", got.text[READS]);
	tap_note(".It %s Ta %s Ta %s Ta %s Ta %s", got.text[0], got.text[1], got.text[2], got.text[3], got.text[4]);
	if (!want)
		fail_msg("'%s' is not in the manual", row->name);
	for (int c = 0; c < COLUMNS; c++)
		assert_string_equal(got.text[c], want->text[c]);
}

static void the_manual_has_no_other(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_manual; i++) {
		bool found = false;

		for (size_t k = 0; k < N_ROWS; k++)
			found |= strcmp(rows[k].name, manual[i].text[NAME]) == 0;
		if (!found)
			fail_msg("the manual has '%s', which no test runs", manual[i].text[NAME]);
	}
}

static void start(void **state)
{
	void *fresh;

	(void)state;
	assert_int_equal(mnt_setup(&fresh), 0);
	shared = fresh;
	put(tp(shared, "in"), O_WRONLY | O_CREAT, BYTES(LINES));
	read_manual();
}

static void end(void **state)
{
	void *last = shared;

	(void)state;
	assert_int_equal(mnt_teardown(&last), 0);
}

int main(void)
{
	struct CMUnitTest tests[N_ROWS + 3] = { cmocka_unit_test(start) };

	for (size_t i = 0; i < N_ROWS; i++)
		tests[i + 1] = (struct CMUnitTest){ rows[i].name, one_row, NULL, NULL, (void *)&rows[i] };
	tests[N_ROWS + 1] = (struct CMUnitTest)cmocka_unit_test(the_manual_has_no_other);
	tests[N_ROWS + 2] = (struct CMUnitTest)cmocka_unit_test(end);
	return mnt_main("matrix", tests, N_ROWS + 3);
}
