/* SPDX-License-Identifier: MIT */
#include "run.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define SANITIZED true
#endif
#endif
#ifndef SANITIZED
#define SANITIZED false
#endif

bool run_sanitized(void)
{
	return SANITIZED || getenv("WALFS_TEST_SANITIZED") != NULL;
}

double deadline_scale(void)
{
	const char *text = getenv("WALFS_TEST_SCALE");
	double scale = text ? strtod(text, NULL) : 1;

	if (!(scale >= 0.1 && scale <= 1000))
		scale = 1;
	return run_sanitized() ? 6 * scale : scale;
}

double now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts); /* cannot fail with this clock */
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

double deadline_after(double seconds)
{
	return now_s() + seconds * deadline_scale();
}

bool deadline_pause(double deadline)
{
	static double last;
	static long ms = 1;
	struct timespec ts = { 0 };

	/* The step grows while one condition is waited for, and starts anew with the next. */
	ms = deadline == last && ms < 32 ? ms * 2 : 1;
	last = deadline;
	if (now_s() >= deadline)
		return false;
	ts.tv_nsec = ms * 1000000;
	(void)nanosleep(&ts, NULL); /* shorter is fine */
	return true;
}

void tap_note(const char *text, ...)
{
	char line[4096];
	va_list ap;

	va_start(ap, text);
	(void)vsnprintf(line, sizeof(line), text, ap);
	va_end(ap);
	for (char *save = NULL, *s = strtok_r(line, "\n", &save); s; s = strtok_r(NULL, "\n", &save))
		printf("# %s\n", s);
	(void)fflush(stdout); /* a child must not print it again */
}

bool have_tool(const char *name)
{
	const char *path = getenv("PATH");
	char full[4096];

	if (strchr(name, '/'))
		return access(name, X_OK) == 0;
	for (const char *s = path ? path : "/usr/bin:/bin"; *s;) {
		size_t len = strcspn(s, ":");

		(void)snprintf(full, sizeof(full), "%.*s/%s", (int)len, s, name);
		if (access(full, X_OK) == 0)
			return true;
		s += len;
		s += *s == ':';
	}
	return false;
}

pid_t run_fork(void)
{
	pid_t parent = getpid(), pid;

	(void)fflush(NULL); /* or the child would print what is buffered once more */
	pid = fork();
	if (pid == 0) {
		/* A shell without job control starts what it puts in the background with these ignored. */
		static const int signals[] = { SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGPIPE };

		for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
			(void)signal(signals[i], SIG_DFL);
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(127);
	}
	return pid;
}

pid_t run_fork_as(uid_t uid, gid_t gid, gid_t group)
{
	pid_t pid = run_fork();

	if (pid != 0)
		return pid;
	if (setgroups(group ? 1 : 0, &group) || setresgid(gid, gid, gid) || setresuid(uid, uid, uid))
		_exit(126);
	/* A change of user clears it. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	return 0;
}

static int status_code(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int run_wait(pid_t pid, double deadline_s)
{
	double deadline = deadline_after(deadline_s);
	struct pollfd pfd = { .fd = pidfd_open(pid, 0), .events = POLLIN };
	int status, n = 0;

	while (pfd.fd >= 0) {
		double left = deadline - now_s();

		n = poll(&pfd, 1, left > 0 ? (int)(left * 1000) + 1 : 0);
		if (n > 0 || left <= 0)
			break;
	}
	if (pfd.fd >= 0)
		(void)close(pfd.fd);
	if (n <= 0)
		return RUN_LATE;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return RUN_LATE;
	return status_code(status);
}

int run_reap(pid_t pid, double deadline_s)
{
	int code = run_wait(pid, deadline_s);

	if (code == RUN_LATE) {
		(void)kill(pid, SIGKILL);
		(void)run_wait(pid, 30);
	}
	return code;
}

static int child_exec(const struct run *r, int out, int err)
{
	int null = open("/dev/null", O_RDONLY);

	(void)setpgid(0, 0);
	if (null < 0 || dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		return 126;
	if (r->uid && (setgroups(0, NULL) || setresgid(r->gid, r->gid, r->gid) || setresuid(r->uid, r->uid, r->uid)))
		return 126;
	/* A change of user clears it. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (r->dir && chdir(r->dir) < 0)
		return 126;
	for (const char *const *e = r->env; e && *e; e++)
		if (putenv((char *)*e))
			return 126;
	(void)execvp(r->argv[0], (char *const *)r->argv);
	return 127;
}

/* What was written to the memory file, as a string. */
static char *collect(int fd, size_t *ret_len)
{
	off_t len = lseek(fd, 0, SEEK_END);
	char *buf = calloc(1, (size_t)len + 1);

	*ret_len = 0;
	if (buf) {
		ssize_t n = pread(fd, buf, (size_t)len, 0);

		*ret_len = n > 0 ? (size_t)n : 0;
	}
	(void)close(fd);
	return buf;
}

void run_cmd(struct run *r)
{
	int out = memfd_create("stdout", MFD_CLOEXEC), err = memfd_create("stderr", MFD_CLOEXEC);
	pid_t pid = run_fork();

	if (pid == 0)
		_exit(child_exec(r, out, err));
	(void)setpgid(pid, pid); /* the child does it too: whoever is first */
	r->code = pid < 0 ? RUN_LATE : run_wait(pid, r->deadline_s > 0 ? r->deadline_s : 60);
	if (r->code == RUN_LATE && pid > 0) {
		(void)kill(-pid, SIGKILL);
		(void)run_wait(pid, 30);
	}
	r->out = collect(out, &r->out_len);
	r->err = collect(err, &r->err_len);
}

void run_free(struct run *r)
{
	free(r->out);
	free(r->err);
	r->out = r->err = NULL;
}

int run_sh(int want, const char *text, ...)
{
	char *script = NULL;
	va_list ap;

	va_start(ap, text);
	if (vasprintf(&script, text, ap) < 0)
		script = NULL;
	va_end(ap);

	struct run r = { .argv = (const char *const[]){ "/bin/sh", "-c", script, NULL } };
	int code;

	run_cmd(&r);
	code = r.code;
	if (code != want) {
		tap_note("%s: exit %d, not %d", script, code, want);
		tap_note("%s%s", r.out, r.err);
	}
	run_free(&r);
	free(script);
	return code;
}
