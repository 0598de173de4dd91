/* SPDX-License-Identifier: MIT
 *
 * A writer that a signal ends in mid-record leaves nothing, whichever append file it writes to and wherever the daemon sees
 * it: of our PID namespace, or of one below it.
 */
#include "files.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* What is written, and what of it stays. NEXT stands for the number that comes next. */
#define NEXT "next"
static const struct kind {
	const char *name, *text, *stays;
} kinds[] = {
	{ "append", "half", NULL },           { "append", "line\nhalf", NULL },
	{ "append.line", "half", NULL },      { "append.line", "line\nhalf", "line\n" },
	{ "append.msg", "half", NULL },       { "append.msg", "header\n\nhalf", NULL },
	{ "append.msg", "header\n\n", NULL }, { NEXT, "half", NULL },
};
enum { N_KINDS = sizeof(kinds) / sizeof(*kinds) };

static const int signals[] = { SIGKILL, SIGINT, SIGTERM, SIGPIPE, SIGHUP, SIGQUIT, SIGABRT };
enum { N_SIGNALS = sizeof(signals) / sizeof(*signals) };

static void die(int sig)
{
	int ends[2];

	(void)setrlimit(RLIMIT_CORE, &(struct rlimit){ 0 });
	if (sig == SIGPIPE && pipe(ends) == 0 && close(ends[0]) == 0)
		(void)!write(ends[1], "x", 1); /* as it comes about */
	if (sig == SIGABRT)
		abort();
	(void)raise(sig);
	_exit(99);
}

/* In the child: writes the half record and dies. */
static void write_half(const struct mnt *m, const struct kind *kind, unsigned long long next, int sig)
{
	bool creates = strcmp(kind->name, NEXT) == 0;
	const char *path = creates ? mp(m, "s/%llu", next) : mp(m, "s/%s", kind->name);
	int fd = open(path, creates ? O_WRONLY | O_CREAT | O_EXCL : O_WRONLY | O_APPEND, 0666);

	if (fd < 0 || write(fd, kind->text, strlen(kind->text)) != (ssize_t)strlen(kind->text))
		_exit(98);
	die(sig);
}

/* The same as a process of a new PID namespace, where it is not the first one, which signals do not kill. The exit status
 * is that of the first process: 128 + signal. */
static void write_half_below(const struct mnt *m, const struct kind *kind, unsigned long long next, int sig)
{
	int status;
	pid_t pid;

	if (unshare(CLONE_NEWPID) < 0)
		_exit(97);
	pid = fork();
	if (pid == 0) {
		pid = fork();
		if (pid == 0)
			write_half(m, kind, next, sig);
		if (waitpid(pid, &status, 0) != pid)
			_exit(96);
		_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
	}
	if (waitpid(pid, &status, 0) != pid)
		_exit(95);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 94);
}

static void killed(struct mnt *m, void (*writer)(const struct mnt *, const struct kind *, unsigned long long, int))
{
	unsigned long long n = 0;

	make_stream(m, "s");
	for (unsigned k = 0; k < N_KINDS; k++) {
		for (unsigned i = 0; i < N_SIGNALS; i++) {
			pid_t pid = run_fork();

			if (pid == 0)
				writer(m, &kinds[k], n + 1, signals[i]);
			assert_int_equal(run_reap(pid, 20), 128 + signals[i]);
			n += kinds[k].stays != NULL;
			if (last_seq(m, "s") != n)
				fail_msg("%s, '%s', signal %d: %llu records, not %llu", kinds[k].name, kinds[k].text,
					 signals[i], (unsigned long long)last_seq(m, "s"), n);
			if (kinds[k].stays)
				assert_file(mp(m, "s/last"), (struct bytes){ kinds[k].stays, strlen(kinds[k].stays) });
		}
		/* And it is in nobody's way. */
		put(mp(m, "s/%llu", ++n), O_WRONLY | O_CREAT | O_EXCL, BYTES("whole"));
		assert_file(mp(m, "s/%llu", n), BYTES("whole"));
	}
	mnt_restart(m, NULL);
	assert_int_equal(last_seq(m, "s"), n);
}

static void here(void **state)
{
	killed(*state, write_half);
}

static void in_a_namespace_below(void **state)
{
	if (geteuid() != 0)
		skip_because("only root can make a PID namespace");
	killed(*state, write_half_below);
}

/* The end of the first process of a namespace kills the others. */
static void with_its_namespace(void **state)
{
	struct mnt *m = *state;
	int ready[2];

	if (geteuid() != 0)
		skip_because("only root can make a PID namespace");
	make_stream(m, "s");
	for (unsigned k = 0; k < N_KINDS; k++) {
		unsigned long long last = last_seq(m, "s");
		char c;

		must(pipe(ready));
		pid_t pid = run_fork();
		if (pid == 0) {
			if (unshare(CLONE_NEWPID) < 0)
				_exit(97);
			pid = fork();
			if (pid == 0) {
				if (fork() == 0) {
					bool creates = strcmp(kinds[k].name, NEXT) == 0;
					int fd = open(creates ? mp(m, "s/%llu", last + 1)
							      : mp(m, "s/%s", kinds[k].name),
						      creates ? O_WRONLY | O_CREAT | O_EXCL : O_WRONLY, 0666);

					(void)!write(fd, kinds[k].text, strlen(kinds[k].text));
					(void)!write(ready[1], "x", 1);
					for (;;)
						(void)pause();
				}
				for (;;)
					(void)pause();
			}
			if (read(ready[0], &c, 1) != 1 || kill(pid, SIGKILL) != 0 || waitpid(pid, NULL, 0) != pid)
				_exit(96);
			_exit(0);
		}
		assert_int_equal(run_reap(pid, 20), 0);
		must(close(ready[0]));
		must(close(ready[1]));
		assert_int_equal(last_seq(m, "s"), last + (kinds[k].stays != NULL));
	}
}

/* The same by the tools that people use. `$K` writes, and dies by the signal `$S`. */
static void sandboxes(void **state)
{
	static const struct {
		const char *tool, *command;
	} boxes[] = {
		{ "unshare", "unshare -pf --mount-proc sh -c" },
		{ "bwrap", "bwrap --dev-bind / / --proc /proc --unshare-pid sh -c" },
		{ "bwrap", "bwrap --dev-bind / / --proc /proc --unshare-all sh -c" },
	};
	struct mnt *m = *state;
	unsigned n = 0;

	if (geteuid() != 0)
		skip_because("only root can make a PID namespace");
	make_stream(m, "s");
	for (unsigned b = 0; b < sizeof(boxes) / sizeof(*boxes); b++) {
		if (!have_tool(boxes[b].tool)) {
			tap_note("skip: %s is not installed", boxes[b].tool);
			continue;
		}
		if (sh(m, "%s true 2>/dev/null", boxes[b].command) != 0) {
			tap_note("skip: %s does not work here", boxes[b].command);
			continue;
		}
		for (unsigned i = 0; i < 4; i++) {
			const char *sig = (const char *const[]){ "KILL", "INT", "TERM", "PIPE" }[i];

			assert_int_equal(
				sh(m,
				   "for f in append append.line append.msg; do\n"
				   "%s \"sh -c 'exec 3>>$M/s/$f; printf half >&3; kill -%s \\$\\$'; true\" 2>/dev/null || exit 9\n"
				   "done",
				   boxes[b].command, sig),
				0);
			assert_int_equal(last_seq(m, "s"), n);
		}
		assert_int_equal(
			sh(m, "%s \"echo whole > $M/s/append; echo line >> $M/s/append.line\"", boxes[b].command), 0);
		n += 2;
		assert_int_equal(last_seq(m, "s"), n);
	}
	assert_true(n > 0);
}

/* A program in a pipeline whose reader goes away is killed by SIGPIPE. */
static void pipelines(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	assert_int_equal(sh(m, "for f in append append.msg; do yes | tee s/$f | head -c 1 >/dev/null; done"), 0);
	assert_no_records(m, "s");
	/* Of the lines all that tee wrote are there, and each is whole. */
	assert_int_equal(sh(m, "yes whole | tee s/append.line | head -c 1 >/dev/null;"
			       "test $(cat s/*[0-9] | sort -u) = whole"),
			 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(here),
		MNT_TEST_RELAXED(here),
		MNT_TEST(in_a_namespace_below),
		MNT_TEST(with_its_namespace),
		MNT_TEST(sandboxes),
		MNT_TEST(pipelines),
	};

	return mnt_main("killed", tests, sizeof(tests) / sizeof(*tests));
}
