/* SPDX-License-Identifier: MIT
 *
 * The clean end: a keeper process, in a session of its own, waits for the end of a pipe whose other end only this
 * program holds. However the program ends, the keeper then detaches what is still mounted below the temporary
 * directory and removes that. Daemons die with the program by PR_SET_PDEATHSIG.
 */
#include "mount.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define START_S 60 /* and to stop */
#define WATCHDOG_S 120

static char base[128]; /* the temporary directory of this program */
static unsigned n_mnt; /* directories made in it */
static pid_t main_pid;
static volatile pid_t watched = 0; /* the daemon that the watchdog kills */

/* ---- the end ---------------------------------------------------------------------------------------- */

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
	(void)st, (void)kind, (void)ftw;
	(void)remove(path); /* what cannot be removed shows by the directory that stays */
	return 0;
}

static void remove_tree(const char *path)
{
	(void)nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Calls umount2 for each mount below `root`, the newest first. Returns how many there were. */
static unsigned detach_below(const char *root)
{
	char *lines[64], at[4096], *line = NULL;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	unsigned n = 0, found;
	size_t size = 0;

	while (f && n < 64 && getline(&line, &size, f) > 0)
		if (sscanf(line, "%*s %*s %*s %*s %4095s", at) == 1 && strncmp(at, root, strlen(root)) == 0)
			lines[n++] = strdup(at);
	if (f)
		(void)fclose(f);
	free(line);
	for (found = n; n > 0; n--) {
		if (lines[n - 1])
			(void)umount2(lines[n - 1], MNT_DETACH); /* nothing better is left to do */
		free(lines[n - 1]);
	}
	return found;
}

static _Noreturn void keep(int end)
{
	char c;
	int null;

	(void)setsid(); /* what is sent to the program's group is not for the keeper */
	null = open("/dev/null", O_RDWR);
	(void)dup2(null, 0);
	(void)dup2(null, 1);
	(void)dup2(null, 2);
	while (read(end, &c, 1) < 0 && errno == EINTR)
		;
	for (unsigned i = 0; i < 64 && detach_below(base) > 0; i++)
		;
	if (!getenv("WALFS_TEST_KEEP"))
		remove_tree(base);
	_exit(0);
}

static pid_t keeper_start(int *ret_end)
{
	int ends[2];
	pid_t pid;

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	(void)fflush(NULL);
	pid = fork();
	if (pid == 0) {
		(void)close(ends[1]);
		keep(ends[0]);
	}
	(void)close(ends[0]);
	*ret_end = ends[1];
	return pid;
}

/* ---- the watchdog ------------------------------------------------------------------------------------- */

static void bark(int sig)
{
	static const char text[] = "# the test took too long: its daemon is killed\n";

	(void)sig;
	(void)!write(1, text, sizeof(text) - 1);
	if (watched > 0)
		(void)kill(watched, SIGKILL); /* calls that hang in it then fail with ENOTCONN */
	(void)alarm(20);
}

void mnt_watchdog(double seconds)
{
	struct sigaction act = { .sa_handler = bark };

	(void)sigaction(SIGALRM, &act, NULL);
	(void)alarm(seconds > 0 ? (unsigned)(seconds * deadline_scale()) + 1 : 0);
}

/* ---- fixtures ---------------------------------------------------------------------------------------- */

/* A failed assertion in a forked child must not go on with the tests of its parent. */
static void not_in_a_child(void)
{
	if (getpid() != main_pid)
		_exit(99);
}

static struct mnt *mnt_new(void)
{
	struct mnt *m = calloc(1, sizeof(*m));

	not_in_a_child();
	assert_non_null(m);
	m->verify_code = -1; /* until there is a store */
	(void)snprintf(m->root, sizeof(m->root), "%s/%u", base, ++n_mnt);
	(void)snprintf(m->store, sizeof(m->store), "%s/store", m->root);
	(void)snprintf(m->at, sizeof(m->at), "%s/mnt", m->root);
	(void)snprintf(m->tmp, sizeof(m->tmp), "%s/tmp", m->root);
	(void)snprintf(m->log, sizeof(m->log), "%s/log", m->root);
	if (mkdir(m->root, 0755) || mkdir(m->store, 0755) || mkdir(m->at, 0755) || mkdir(m->tmp, 0777))
		fail_msg("%s: %s", m->root, strerror(errno));
	(void)chmod(m->tmp, 0777); /* whatever the umask is: other users write there too */
	mnt_watchdog(WATCHDOG_S);
	return m;
}

int mnt_setup_bare(void **state)
{
	*state = mnt_new();
	return 0;
}

static int setup_with(void **state, const char *opts)
{
	*state = mnt_new();
	mnt_start(*state, opts);
	return 0;
}

int mnt_setup(void **state)
{
	return setup_with(state, NULL);
}

int mnt_setup_relaxed(void **state)
{
	return setup_with(state, "relaxed");
}

static char *read_log(const struct mnt *m)
{
	struct stat st;
	int fd = open(m->log, O_RDONLY | O_CLOEXEC);
	char *text = NULL;

	if (fd >= 0 && fstat(fd, &st) == 0 && (text = calloc(1, (size_t)st.st_size + 1)))
		if (read(fd, text, (size_t)st.st_size) < 0)
			text[0] = '\0';
	if (fd >= 0)
		(void)close(fd);
	return text ? text : strdup("");
}

/* The first line of the daemon's log that tells of a crash, or (unless they are expected) of an error. */
static bool log_is_bad(const struct mnt *m)
{
	static const char *const crash[] = { "Sanitizer", "runtime error:", "ssertion",       "stack smashing",
					     "corrupted", "double free",    "WARNING: Thread" };
	static const char *const complaint[] = { "error", "warning", "fail", "cannot", "damage" };
	char *text = read_log(m), *save = NULL;
	bool bad = false;

	for (char *line = strtok_r(text, "\n", &save); line && !bad; line = strtok_r(NULL, "\n", &save)) {
		for (size_t i = 0; i < sizeof(crash) / sizeof(*crash); i++)
			bad |= strstr(line, crash[i]) != NULL;
		for (size_t i = 0; i < sizeof(complaint) / sizeof(*complaint) && !m->log_may_complain; i++)
			bad |= strcasestr(line, complaint[i]) != NULL;
		if (bad)
			tap_note("the daemon's log has: %s", line);
	}
	free(text);
	return bad;
}

/* umount2 can hang where the daemon does: a child calls it. Returns 0 or an errno. */
static int unmount(const char *at)
{
	pid_t pid = run_fork();
	int code;

	if (pid == 0) {
		if (geteuid() != 0) {
			(void)execlp("fusermount3", "fusermount3", "-u", at, NULL);
			_exit(EBUSY);
		}
		_exit(umount2(at, UMOUNT_NOFOLLOW) == 0 ? 0 : errno);
	}
	code = run_reap(pid, START_S);
	return code == RUN_LATE ? ETIMEDOUT : code;
}

/* A file that was just closed keeps the mount busy until the kernel has let go of it. */
static int unmount_patiently(const char *at)
{
	double deadline = deadline_after(10);
	int err = unmount(at);

	while (err == EBUSY && deadline_pause(deadline))
		err = unmount(at);
	return err;
}

/* Unmounts and waits. Returns 0, or says what was wrong. */
static int stop(struct mnt *m)
{
	int err = unmount_patiently(m->at), code;

	if (err)
		tap_note("unmount %s: %s", m->at, strerror(err));
	code = run_wait(m->daemon, err ? 1 : START_S);
	if (code == RUN_LATE) {
		tap_note("the daemon does not end");
		(void)kill(m->daemon, SIGKILL);
		(void)run_wait(m->daemon, 30);
		(void)umount2(m->at, MNT_DETACH); /* it may be gone */
	} else if (code != 0) {
		tap_note("the daemon's exit status is %d", code);
		(void)umount2(m->at, MNT_DETACH);
	}
	m->daemon = watched = 0;
	return err || code ? -1 : 0;
}

static void show_log(const struct mnt *m)
{
	char *text = read_log(m);
	size_t len = strlen(text);

	if (len > 6000)
		tap_note("the daemon's log begins:\n%.3000s", text);
	tap_note("the daemon's log ends:\n%s", len > 3000 ? text + len - 3000 : text);
	free(text);
}

static int verify(const struct mnt *m)
{
	const char *walctl = getenv("WALCTL");
	struct run r = { .argv = (const char *const[]){ walctl, "verify", m->store, NULL }, .deadline_s = 120 };
	int code;

	run_cmd(&r);
	code = r.code;
	if (code != m->verify_code)
		tap_note("walctl verify: exit status %d, not %d\n%s%s", code, m->verify_code, r.out, r.err);
	run_free(&r);
	return code == m->verify_code ? 0 : -1;
}

int mnt_teardown(void **state)
{
	struct mnt *m = *state;
	int bad = 0;

	not_in_a_child();
	if (m->daemon)
		bad |= stop(m);
	(void)detach_below(m->root);
	if (m->verify_code >= 0)
		bad |= verify(m);
	bad |= log_is_bad(m) ? -1 : 0;
	if (bad)
		show_log(m);
	if (!getenv("WALFS_TEST_KEEP"))
		remove_tree(m->root);
	mnt_watchdog(0);
	free(m);
	*state = NULL;
	return bad;
}

/* ---- the daemon ---------------------------------------------------------------------------------------- */

bool mnt_is_mounted(const char *at)
{
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL, there[4096];
	bool found = false;
	size_t size = 0;

	while (f && !found && getline(&line, &size, f) > 0)
		found = sscanf(line, "%*s %*s %*s %*s %4095s", there) == 1 && strcmp(there, at) == 0;
	if (f)
		(void)fclose(f);
	free(line);
	return found;
}

static pid_t daemon_spawn(const struct mnt *m, const char *store, const char *at, const char *opts)
{
	const char *walfs = getenv("WALFS");
	pid_t pid = run_fork();
	int log;

	if (pid != 0)
		return pid;
	log = open(m->log, O_WRONLY | O_CREAT | O_APPEND, 0666);
	(void)dup2(log, 1);
	(void)dup2(log, 2);
	(void)execl(walfs, "walfs", store, at, "-f", opts ? "-o" : NULL, opts, NULL);
	perror(walfs);
	_exit(127);
}

/* Not by the list of mounts: a dead one that the daemon is about to clear is in it. */
static bool answers(const char *at)
{
	struct statfs st;

	return statfs(at, &st) == 0 && st.f_type == FUSE_SUPER_MAGIC;
}

/* Waits until the mount is there or the daemon is gone: the kernel tells of both. */
static bool wait_mounted(const struct mnt *m)
{
	double deadline = deadline_after(START_S);
	struct pollfd fds[2] = {
		{ .fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC), .events = POLLPRI },
		{ .fd = pidfd_open(m->daemon, 0), .events = POLLIN },
	};
	bool there;

	while (!(there = answers(m->at)) && !(fds[1].revents & POLLIN) && now_s() < deadline)
		if (poll(fds, 2, 1000) < 0 && errno != EINTR)
			break;
	(void)close(fds[0].fd);
	(void)close(fds[1].fd);
	return there;
}

void mnt_start(struct mnt *m, const char *opts)
{
	assert_int_equal(m->daemon, 0);
	m->daemon = watched = daemon_spawn(m, m->store, m->at, opts);
	assert_true(m->daemon > 0);
	if (!wait_mounted(m)) {
		(void)kill(m->daemon, SIGTERM);
		tap_note("exit status %d", run_reap(m->daemon, 5));
		m->daemon = watched = 0;
		show_log(m);
		fail_msg("walfs -o %s does not mount", opts ? opts : "(nothing)");
	}
	if (!m->started)
		m->verify_code = 0;
	m->started = true;
}

void mnt_stop(struct mnt *m)
{
	if (stop(m) < 0) {
		show_log(m);
		fail_msg("the daemon did not end as it should");
	}
}

void mnt_restart(struct mnt *m, const char *opts)
{
	mnt_stop(m);
	mnt_start(m, opts);
}

void mnt_kill(struct mnt *m)
{
	(void)kill(m->daemon, SIGKILL);
	assert_int_equal(run_wait(m->daemon, START_S), 128 + SIGKILL);
	m->daemon = watched = 0;
}

void mnt_verify(struct mnt *m, int want)
{
	int keep = m->verify_code, bad;

	m->verify_code = want;
	bad = verify(m);
	m->verify_code = keep;
	assert_int_equal(bad, 0);
}

char *mnt_refused(struct mnt *m, const char *store, const char *at, const char *opts)
{
	struct run r = {
		.argv = (const char *const[]){ getenv("WALFS"), store, at, "-f", opts ? "-o" : NULL, opts, NULL },
		.deadline_s = 30,
	};
	char *said = NULL;

	(void)m;
	run_cmd(&r);
	assert_int_not_equal(asprintf(&said, "%s%s", r.out, r.err), -1);
	if (r.code == RUN_LATE || r.code <= 0 || r.code >= 126)
		fail_msg("walfs should have refused; exit status %d, it said: %s", r.code, said);
	run_free(&r);
	return said;
}

long mnt_memory_kib(const struct mnt *m, const char *field)
{
	char path[64], line[256];
	size_t len = strlen(field);
	long kib = -1;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)m->daemon);
	f = fopen(path, "re");
	assert_non_null(f);
	while (kib < 0 && fgets(line, sizeof(line), f))
		if (strncmp(line, field, len) == 0 && line[len] == ':')
			kib = strtol(line + len + 1, NULL, 10);
	(void)fclose(f);
	assert_true(kib >= 0);
	return kib;
}

void mnt_memory_below(const struct mnt *m, long kib)
{
	long peak = mnt_memory_kib(m, "VmHWM");

	if (run_sanitized())
		tap_note("the daemon used up to %ld KiB: not checked under a sanitizer", peak);
	else if (peak >= kib)
		fail_msg("the daemon used up to %ld KiB, more than %ld", peak, kib);
}

/* ---- paths and scripts --------------------------------------------------------------------------------- */

__attribute__((format(printf, 2, 0))) static const char *below(const char *dir, const char *path, va_list ap)
{
	static char ring[16][8192];
	static unsigned next;
	char *buf = ring[next++ % 16];
	int len = snprintf(buf, sizeof(ring[0]), "%s/", dir);

	(void)vsnprintf(buf + len, sizeof(ring[0]) - (size_t)len, path, ap);
	return buf;
}

const char *mp(const struct mnt *m, const char *path, ...)
{
	const char *full;
	va_list ap;

	va_start(ap, path);
	full = below(m->at, path, ap);
	va_end(ap);
	return full;
}

const char *tp(const struct mnt *m, const char *path, ...)
{
	const char *full;
	va_list ap;

	va_start(ap, path);
	full = below(m->tmp, path, ap);
	va_end(ap);
	return full;
}

static int sh_run(struct mnt *m, const char *shell, const char *script, char **ret_out)
{
	char env_m[256], env_t[256];
	bool busybox = strcmp(shell, "busybox") == 0;
	struct run r = { .dir = m->at, .env = (const char *const[]){ env_m, env_t, NULL } };
	int code;

	(void)snprintf(env_m, sizeof(env_m), "M=%s", m->at);
	(void)snprintf(env_t, sizeof(env_t), "T=%s", m->tmp);
	r.argv = busybox ? (const char *const[]){ "busybox", "sh", "-c", script, NULL }
			 : (const char *const[]){ shell, "-c", script, NULL };
	r.deadline_s = 100;
	run_cmd(&r);
	code = r.code;
	if (r.err_len > 0)
		tap_note("%.300s: exit status %d: %.1000s", script, code, r.err);
	if (ret_out) {
		*ret_out = r.out;
		r.out = NULL;
	}
	run_free(&r);
	if (code == RUN_LATE)
		fail_msg("too late: %s", script);
	return code;
}

int sh(struct mnt *m, const char *script, ...)
{
	char *text = NULL;
	va_list ap;
	int code;

	va_start(ap, script);
	assert_int_not_equal(vasprintf(&text, script, ap), -1);
	va_end(ap);
	code = sh_run(m, "sh", text, NULL);
	free(text);
	return code;
}

char *sh_out(struct mnt *m, const char *script, ...)
{
	char *text = NULL, *out = NULL;
	va_list ap;
	int code;

	va_start(ap, script);
	assert_int_not_equal(vasprintf(&text, script, ap), -1);
	va_end(ap);
	code = sh_run(m, "sh", text, &out);
	if (code != 0)
		fail_msg("exit status %d: %s", code, text);
	free(text);
	assert_non_null(out);
	return out;
}

int sh_with(struct mnt *m, const char *shell, const char *script)
{
	return sh_run(m, shell, script, NULL);
}

/* ---- main ---------------------------------------------------------------------------------------------- */

static const char *cannot_mount(void)
{
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return "/dev/fuse cannot be opened";
	(void)close(fd);
	return geteuid() != 0 && !have_tool("fusermount3") ? "neither root nor fusermount3" : NULL;
}

int mnt_main(const char *name, const struct CMUnitTest *tests, size_t n)
{
	const char *why = cannot_mount(), *dir = getenv("TMPDIR"), *filter = getenv("WALFS_TEST_FILTER");
	int end = -1, failed;
	pid_t keeper;

	if (why) {
		printf("1..0 # SKIP %s\n", why);
		return 0;
	}
	if (!getenv("WALFS") || !getenv("WALCTL")) {
		printf("Bail out! WALFS and WALCTL must name the programs\n");
		return 1;
	}
	(void)snprintf(base, sizeof(base), "%s/walfs-%s-XXXXXX", dir && dir[0] == '/' ? dir : "/tmp", name);
	if (!mkdtemp(base) || chmod(base, 0755) < 0) {
		printf("Bail out! %s: %s\n", base, strerror(errno));
		return 1;
	}
	main_pid = getpid();
	/* A daemon in the background becomes a child of this program, which can then wait for it. */
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1);
	keeper = keeper_start(&end);
	if (filter)
		cmocka_set_test_filter(filter);
	failed = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
	(void)close(end);
	(void)run_wait(keeper, 60);
	return failed ? 1 : 0;
}
