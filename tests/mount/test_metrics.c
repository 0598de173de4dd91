/* SPDX-License-Identifier: MIT
 *
 * .walfs/metrics, .walfs/stats and .walfs/status: the format to the letter, figures that move by what was done and by no
 * more, and sizes that are true whatever happens between stat and read.
 */
#include "files.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define METRICS ".walfs/metrics"

/* ---- the format ---------------------------------------------------------------------------------------- */

static size_t name_len(const char *s)
{
	size_t n = 0;

	if (isdigit((unsigned char)s[0]))
		return 0;
	while (isalnum((unsigned char)s[n]) || s[n] == '_' || s[n] == ':')
		n++;
	return n;
}

/* {name="value",...}: its length, 0 where there is none. */
static size_t labels_len(const char *s)
{
	size_t n = 1;

	if (s[0] != '{')
		return 0;
	while (s[n] != '}') {
		size_t len = name_len(s + n);

		if (len == 0 || s[n + len] != '=' || s[n + len + 1] != '"')
			fail_msg("labels: %s", s);
		for (n += len + 2; s[n] != '"'; n++) {
			if (s[n] == '\\' && strchr("\\\"n", s[n + 1]))
				n++;
			else if (s[n] == '\\' || s[n] == '\0')
				fail_msg("label value: %s", s);
		}
		n++;
		if (s[n] == ',')
			n++;
		else if (s[n] != '}')
			fail_msg("labels: %s", s);
	}
	return n + 1;
}

struct family {
	char name[128], type[16];
	bool helped, sampled;
	double bucket, le; /* of a histogram: the last one */
	bool inf, sum, count;
};

static bool ends_in(const char *text, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len >= n && memcmp(text + len - n, end, n) == 0;
}

/* A line of a histogram: buckets grow, the last one is +Inf and is the count. */
static void check_histogram(struct family *f, const char *line, size_t len, double value)
{
	if (ends_in(line, len, "_bucket")) {
		const char *le = strstr(line, "le=\"");
		double bound = le ? strtod(le + 4, NULL) : -1;

		if (!le || value < f->bucket || f->inf || (f->bucket > 0 && bound <= f->le))
			fail_msg("bucket out of order: %s", line);
		f->bucket = value;
		f->le = bound;
		f->inf = strncmp(le, "le=\"+Inf\"", 9) == 0;
	} else if (ends_in(line, len, "_sum")) {
		f->sum = true;
	} else {
		f->count = true;
		if (!f->inf || value != f->bucket)
			fail_msg("the count is not the last bucket: %s", line);
	}
}

static void check_sample(struct family *f, const char *line)
{
	size_t len = name_len(line), base = strlen(f->name), labels = labels_len(line + len);
	bool histogram = strcmp(f->type, "histogram") == 0;
	char *end;
	double value;

	if (len < base || strncmp(line, f->name, base) != 0 || (!histogram && len != base))
		fail_msg("a sample outside of its family '%s': %s", f->name, line);
	if (histogram && !ends_in(line, len, "_bucket") && !ends_in(line, len, "_sum") && !ends_in(line, len, "_count"))
		fail_msg("no line of a histogram: %s", line);
	if (line[len + labels] != ' ')
		fail_msg("no value: %s", line);
	value = strtod(line + len + labels, &end);
	if (*end || end[-1] == ' ')
		fail_msg("not a value: %s", line);
	if (strcmp(f->type, "gauge") != 0 && value < 0)
		fail_msg("a counter below 0: %s", line);
	if (histogram)
		check_histogram(f, line, len, value);
	f->sampled = true;
}

static void end_family(const struct family *f)
{
	if (f->name[0] && !f->sampled)
		fail_msg("%s has no sample", f->name);
	if (strcmp(f->type, "histogram") == 0 && !(f->inf && f->sum && f->count))
		fail_msg("%s is not complete", f->name);
}

/* "# HELP name text" begins a family, "# TYPE name type" follows. */
static void check_comment(struct family *f, const char *line, char *seen, size_t size)
{
	if (strncmp(line, "# padding ", 10) == 0)
		return;

	size_t len = strlen(line) > 7 ? name_len(line + 7) : 0;
	char needle[160];

	if (len == 0 || line[7 + len] != ' ' || len >= sizeof(f->name))
		fail_msg("a comment of no use: %s", line);
	if (strncmp(line, "# HELP ", 7) == 0) {
		end_family(f);
		*f = (struct family){ .helped = true };
		(void)snprintf(f->name, sizeof(f->name), "%.*s", (int)len, line + 7);
		(void)snprintf(needle, sizeof(needle), "|%s|", f->name);
		if (strstr(seen, needle))
			fail_msg("%s comes twice", f->name);
		(void)snprintf(seen + strlen(seen), size - strlen(seen), "%s", needle);
		if (strncmp(f->name, "walfs_", 6) != 0)
			fail_msg("not ours: %s", f->name);
	} else {
		if (strncmp(line, "# TYPE ", 7) != 0 || !f->helped || f->sampled ||
		    strncmp(f->name, line + 7, len) != 0)
			fail_msg("out of place: %s", line);
		(void)snprintf(f->type, sizeof(f->type), "%s", line + 7 + len + 1);
		if (strcmp(f->type, "counter") != 0 && strcmp(f->type, "gauge") != 0 &&
		    strcmp(f->type, "histogram") != 0)
			fail_msg("no type: %s", line);
		if ((strcmp(f->type, "counter") == 0) != ends_in(f->name, strlen(f->name), "_total"))
			fail_msg("a %s of that name: %s", f->type, line);
	}
}

static unsigned check_format(const char *path)
{
	size_t len, n_seen = 1 << 16;
	char *text = slurp(path, &len), *save = NULL, *seen = calloc(1, n_seen), *samples = calloc(1, n_seen);
	struct family family = { 0 };
	unsigned n = 0;

	assert_non_null(seen);
	assert_non_null(samples);
	assert_int_equal(strlen(text), len); /* no NUL */
	assert_true(len > 0 && text[len - 1] == '\n');
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char needle[256];
		size_t id;

		if (line[0] == '#') {
			check_comment(&family, line, seen, n_seen);
			continue;
		}
		check_sample(&family, line);
		id = name_len(line) + labels_len(line + name_len(line));
		(void)snprintf(needle, sizeof(needle), "|%.*s|", (int)id, line);
		if (strstr(samples, needle))
			fail_msg("twice: %s", line);
		(void)snprintf(samples + strlen(samples), n_seen - strlen(samples), "%s", needle);
		n++;
	}
	end_family(&family);
	free(samples);
	free(seen);
	free(text);
	return n;
}

static void format(void **state)
{
	struct mnt *m = *state;
	struct run r = { .argv = (const char *const[]){ "sh", "-c", "exec promtool check metrics < \"$1\"", "-",
							mp(m, METRICS), NULL } };

	make_stream(m, "s");
	for (unsigned i = 0; i < 12; i++)
		append(m, "s", "text");
	assert_true(check_format(mp(m, METRICS)) > 40);
	if (!have_tool("promtool")) {
		tap_note("skipped: promtool is not installed, so that only our own parser looks");
		return;
	}
	run_cmd(&r);
	if (r.code != 0)
		fail_msg("promtool: %s%s", r.out, r.err);
	run_free(&r);
}

/* ---- the values ---------------------------------------------------------------------------------------- */

/* The value of a sample in the text, by name and labels. */
static double value_in(const char *text, const char *sample)
{
	size_t len = strlen(sample);
	const char *at = text;

	while ((at = strstr(at, sample)) && !((at == text || at[-1] == '\n') && at[len] == ' '))
		at++;
	if (!at)
		fail_msg("there is no %s", sample);
	return strtod(at + len, NULL);
}

static double value_of(const struct mnt *m, const char *sample)
{
	char *text = slurp(mp(m, METRICS), NULL);
	double value = value_in(text, sample);

	free(text);
	return value;
}

static void moved(const struct mnt *m, const char *before, const char *sample, double by)
{
	char *text = slurp(mp(m, METRICS), NULL);
	double from = value_in(before, sample), to = value_in(text, sample);

	if (to - from != by)
		fail_msg("%s went from %.0f to %.0f, and not by %.0f", sample, from, to, by);
	free(text);
}

static void values(void **state)
{
	struct mnt *m = *state;
	static char big[3 << 20];
	char *before;
	int fd, other;

	make_stream(m, "s");
	append(m, "s", "first");
	before = slurp(mp(m, METRICS), NULL);
	assert_true(value_in(before, "walfs_start_time_seconds") > 1.7e9);
	assert_true(value_in(before, "walfs_degraded") == 0);
	for (unsigned i = 0; i < 10; i++)
		append(m, "s", "0123456789");
	put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("head"));
	append(m, "s", "x");
	moved(m, before, "walfs_appends_total", 11);
	moved(m, before, "walfs_append_bytes_total", 105);
	moved(m, before, "walfs_requests_total{operation=\"write\"}", 12);
	moved(m, before, "walfs_commits_total", 11);
	/* Each of these was alone in its sync. */
	moved(m, before, "walfs_journal_sync_seconds_count", 11);
	moved(m, before, "walfs_journal_sync_seconds_bucket{le=\"+Inf\"}", 11);
	assert_true(value_of(m, "walfs_journal_sync_seconds_sum") > value_in(before, "walfs_journal_sync_seconds_sum"));
	must(unlink(mp(m, "s/1")));
	moved(m, before, "walfs_trimmed_total", 1);
	free(before);

	/* What is open and pending, and that it ends. */
	before = slurp(mp(m, METRICS), NULL);
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY));
	other = (int)must(open(mp(m, "s/append"), O_WRONLY));
	write_all(fd, "pending", 7);
	moved(m, before, "walfs_files_open", 2);
	moved(m, before, "walfs_pending_bytes", 7);
	moved(m, before, "walfs_pending_drafts", 0);
	write_all(other, big, sizeof(big));
	moved(m, before, "walfs_pending_bytes", 7 + sizeof(big));
	moved(m, before, "walfs_pending_drafts", 1);
	must(close(fd));
	must(close(other));
	moved(m, before, "walfs_appends_total", 2);
	moved(m, before, "walfs_append_bytes_total", 7 + sizeof(big));
	moved(m, before, "walfs_pending_bytes", 0);
	moved(m, before, "walfs_pending_drafts", 0);
	moved(m, before, "walfs_pending_memory_bytes", 0);
	free(before);

	/* Errors. */
	before = slurp(mp(m, METRICS), NULL);
	for (unsigned i = 0; i < 3; i++)
		assert_errno(rename(mp(m, "s/3"), mp(m, "s/4")), EPERM);
	assert_errno(mkdir(mp(m, "%%zz"), 0700), EINVAL);
	moved(m, before, "walfs_errors_total{errno=\"EPERM\"}", 3);
	moved(m, before, "walfs_errors_total{errno=\"EINVAL\"}", 1);
	moved(m, before, "walfs_errors_total{errno=\"EIO\"}", 0);
	moved(m, before, "walfs_requests_total{operation=\"rename\"}", 3);
	free(before);
}

/* Readers that wait, until they do not. */
static void parked(void **state)
{
	struct mnt *m = *state;
	double deadline = deadline_after(20);
	pid_t pids[5];
	char c;

	make_stream(m, "s");
	for (unsigned i = 0; i < 5; i++) {
		pids[i] = run_fork();
		if (pids[i] == 0)
			_exit(read(open(mp(m, "s/new.follow"), O_RDONLY), &c, 1) == 1 ? 0 : 1);
	}
	while (value_of(m, "walfs_readers_parked") != 5)
		assert_true(deadline_pause(deadline));
	append(m, "s", "x");
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(run_reap(pids[i], 20), 0);
	assert_true(value_of(m, "walfs_readers_parked") == 0);
}

static void space(void **state)
{
	struct mnt *m = *state;
	struct statvfs st;

	must(statvfs(m->store, &st));
	assert_true(value_of(m, "walfs_space_size_bytes") == (double)st.f_blocks * (double)st.f_frsize);
	assert_true(value_of(m, "walfs_space_free_bytes") > 0);
	assert_true(value_of(m, "walfs_journal_size_bytes") >= 65536);
	make_stream(m, "s");
	append(m, "s", "x");
	assert_true(value_of(m, "walfs_journal_used_bytes") > 0);
	assert_true(value_of(m, "walfs_journal_used_bytes") <= value_of(m, "walfs_journal_size_bytes"));
}

/* ---- sizes --------------------------------------------------------------------------------------------- */

/* While others append, so that figures grow by a digit now and then, tools that trust st_size get all of it. */
static void sizes(void **state)
{
	static const char *const files[] = { METRICS, ".walfs/stats", "s/.stat" };
	struct mnt *m = *state;
	struct stat st, again;
	size_t len;
	pid_t pid;

	make_stream(m, "s");
	append(m, "s", "x");
	pid = run_fork();
	if (pid == 0)
		for (;;) {
			int fd = open(mp(m, "s/append"), O_WRONLY | O_APPEND);

			if (fd < 0 || write(fd, "text", 4) != 4 || close(fd) < 0)
				_exit(1);
		}
	for (unsigned i = 0; i < sizeof(files) / sizeof(*files); i++) {
		must(stat(mp(m, "%s", files[i]), &st));
		for (unsigned k = 0; k < 200; k++) {
			char *text = slurp(mp(m, "%s", files[i]), &len);

			assert_int_equal(len, st.st_size);
			assert_int_equal(text[len - 1], '\n');
			free(text);
			must(stat(mp(m, "%s", files[i]), &again));
			assert_int_equal(again.st_size, st.st_size);
		}
		if (sh(m,
		       "for i in $(seq 20); do busybox cat %s > $T/a; busybox cp %s $T/b; cp %s $T/c; cat %s > $T/d; "
		       "python3 -c 'import shutil,sys; shutil.copyfile(sys.argv[1], sys.argv[2])' %s $T/e; "
		       "for f in $T/[a-e]; do test $(stat -c %%s $f) = %d && test \"$(tail -c 1 $f | wc -l)\" = 1 || exit 1; "
		       "done; rm $T/[a-e]; done",
		       files[i], files[i], files[i], files[i], files[i], (int)st.st_size) != 0)
			fail_msg("%s was cut", files[i]);
	}
	must(kill(pid, SIGKILL));
	assert_int_equal(run_wait(pid, 10), 128 + SIGKILL);
	/* What is open stays what it was. */
	int fd = (int)must(open(mp(m, METRICS), O_RDONLY));
	char first[100], second[100];
	must(pread(fd, first, sizeof(first), 300));
	append(m, "s", "x");
	must(pread(fd, second, sizeof(second), 300));
	assert_memory_equal(first, second, sizeof(first));
	must(close(fd));
}

/* ---- status -------------------------------------------------------------------------------------------- */

static void status(void **state)
{
	struct mnt *m = *state;
	char *text, stream[32], file[256], *path, *data, *at;
	unsigned long long off, record, count;
	size_t len;
	int fd;

	make_stream(m, "s");
	append(m, "s", "content of one");
	append(m, "s", "content of two");
	append(m, "s", "content of three");
	assert_file(mp(m, ".walfs/status"), BYTES("ok\n"));
	mnt_stop(m);
	m->log_may_complain = true;
	m->verify_code = 1;
	text = sh_out(m, "cd %s && grep -rlF 'content of two' --include='*.seg' .", m->store);
	text[strcspn(text, "\n")] = '\0';
	assert_int_not_equal(asprintf(&path, "%s/%s", m->store, text), -1);
	data = slurp(path, &len);
	at = memmem(data, len, "content of two", 14);
	assert_non_null(at);
	fd = (int)must(open(path, O_WRONLY));
	assert_int_equal(must(pwrite(fd, "C", 1, at - data)), 1);
	must(close(fd));
	mnt_start(m, NULL);
	assert_errno((fd = open(mp(m, "s/2"), O_RDONLY)) < 0 ? -1 : read(fd, stream, 1), EIO);
	(void)close(fd);
	free(text);
	text = slurp(mp(m, ".walfs/status"), NULL);
	tap_note("%s", text);
	if (sscanf(text, "degraded\nstream=%31s file=%255s offset=%llu record=%llu count=%llu error=\"", stream, file,
		   &off, &record, &count) != 5)
		fail_msg("the status is: %s", text);
	assert_string_equal(stream, "s");
	assert_int_equal(record, 2);
	if (!strstr(path, file))
		fail_msg("the file is %s, not %s", file, path);
	/* The record begins with its frame, before its content and behind the content before. */
	assert_true(off < (unsigned long long)(at - data) &&
		    off > (unsigned long long)((char *)memmem(data, len, "content of one", 14) - data));
	assert_true(value_of(m, "walfs_degraded") == 1);
	assert_true(value_of(m, "walfs_store_errors_total") >= 1);
	free(text);
	free(data);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(format), MNT_TEST(values),        MNT_TEST(parked),
		MNT_TEST(space),  MNT_TEST_RELAXED(sizes), MNT_TEST(status),
	};

	return mnt_main("metrics", tests, sizeof(tests) / sizeof(*tests));
}
