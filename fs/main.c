/* SPDX-License-Identifier: MIT
 *
 * walfs: options, store, mount, loop, and all of it back again.
 *
 * The end. A signal or an unmount ends the loop. What the kernel had sent by then is still answered, reads that wait for
 * a record too, jobs and commits that run are waited for, the mount is removed, files that are left open are closed, and the store is synced and closed. A
 * RELEASE that was still in the kernel's queue when the last mount went is lost; walfs_files_drop makes up for it.
 */
#include "daemon.h"
#include "opener.h"
#include "ops.h"
#include "place.h"
#include "walfs.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE 2
#define BUSY_TRIES 40
#define BUSY_WAIT_NS (50 * 1000 * 1000)
#define LEFT_OVER_MAX 100000 /* requests answered after the end was asked for */

/* The one global: a signal handler has no argument. */
static struct {
	struct fuse_session *volatile session;
	volatile sig_atomic_t came;
} signalled;

static void on_signal(int sig)
{
	(void)sig;
	signalled.came = 1;
	if (signalled.session)
		fuse_session_exit(signalled.session);
	/* A signal between the loop's look at the flag and its read would wake nothing: try again until it ended. */
	(void)alarm(1);
}

static void set_signals(struct fuse_session *session)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGHUP, SIGALRM };
	struct sigaction ends = { .sa_handler = session ? on_signal : SIG_IGN };
	struct sigaction ignored = { .sa_handler = SIG_IGN };
	if (session)
		signalled.session = session;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		(void)sigaction(signals[i], &ends, NULL);
	(void)sigaction(SIGPIPE, &ignored, NULL);
	if (!session)
		signalled.session = NULL;
}

static void trace(void *arg, const char *line)
{
	walfs_log(arg, WALFS_LOG_INFO, "%s", line);
}

/* The soft limit is low for the sake of select(2), which is not used here. */
static void raise_open_files(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* it may stay as it is */
}

/* ---- setting up -------------------------------------------------------------------------------------- */

static int open_store(struct walfs *fs, const struct walfs_place *place)
{
	const struct walfs_opts *opts = fs->opts;
	char holder[128];
	struct wal_err err = { 0 };
	sigset_t all, before;
	snprintf(holder, sizeof(holder), "walfs at %s", place->mountpoint);
	struct wal_opts wal = {
		.flags = (opts->read_only ? WAL_OPEN_RDONLY : WAL_OPEN_CREATE) |
			 (opts->relaxed ? WAL_OPEN_RELAXED : 0) | (opts->append_only ? WAL_OPEN_NO_TRIM : 0),
		.interval_ns = opts->interval_ns,
		.max_record = opts->max_record,
		.holder = holder,
		.trace = trace,
		.trace_arg = fs->log,
	};
	/* The engine's threads leave signals to the loop. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int result = wal_store_open(place->store, &wal, &fs->store, &err);
	/* umount(8) returns before the daemon has synced and let go of the store: `umount M; walfs S M` shall work. */
	for (int i = 0; result == -EBUSY && i < BUSY_TRIES; i++) {
		(void)nanosleep(&(struct timespec){ .tv_nsec = BUSY_WAIT_NS }, NULL);
		result = wal_store_open(place->store, &wal, &fs->store, &err);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result < 0)
		walfs_log(fs->log, WALFS_LOG_ERROR, "%s", err.text[0] ? err.text : wal_strerror(result));
	return result;
}

static int mount_session(struct walfs *fs, const struct walfs_place *place)
{
	const struct walfs_opts *opts = fs->opts;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	char *list = NULL, *name = NULL;
	int err = -ENOMEM;

	if (asprintf(&name, "fsname=%s", opts->fsname ? opts->fsname : place->store) < 0) {
		name = NULL;
		goto out;
	}
	for (int i = 0; i < opts->kernel.argc; i++)
		if (fuse_opt_add_arg(&args, opts->kernel.argv[i]) < 0)
			goto out;
	if (fuse_opt_add_opt_escaped(&list, name) < 0 || fuse_opt_add_opt(&list, "subtype=walfs") < 0 ||
	    fuse_opt_add_opt(&list, "default_permissions") < 0 || fuse_opt_add_arg(&args, "-o") < 0 ||
	    fuse_opt_add_arg(&args, list) < 0)
		goto out;
	err = -EINVAL; /* libfuse has said on stderr why */
	fs->session = fuse_session_new(&args, &walfs_ops, sizeof(walfs_ops), fs);
	if (!fs->session)
		goto out;
	if (fuse_session_mount(fs->session, place->mountpoint) < 0) {
		walfs_log(fs->log, WALFS_LOG_ERROR, "cannot mount at %s", place->mountpoint);
		goto out;
	}
	err = 0;
out:
	free(list);
	free(name);
	fuse_opt_free_args(&args);
	return err;
}

static void on_ready(struct walfs *fs)
{
	struct walfs_daemon *daemon = fs->ready_arg;
	if (daemon->ready_fd >= 0)
		walfs_log_to_syslog(fs->log);
	walfs_daemon_ready(daemon);
	walfs_daemon_notify("READY=1");
	fs->ready = NULL;
}

static int init_fs(struct walfs *fs)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	fs->meter.started_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	atomic_store(&fs->changed_ns, fs->meter.started_ns);
	fs->uid = fs->opts->uid != WALFS_ID_UNSET ? fs->opts->uid : geteuid();
	fs->gid = fs->opts->gid != WALFS_ID_UNSET ? fs->opts->gid : getegid();
	fs->sees_processes = walfs_opener_sees_processes();
	walfs_inodes_init(&fs->inodes);
	walfs_users_init(&fs->users, fs->opts);
	walfs_files_init(&fs->files);
	walfs_staged_init(&fs->staged);
	fs->scratch = malloc(WALFS_SCRATCH_BYTES);
	return fs->scratch ? walfs_workers_open(&fs->workers) : -ENOMEM;
}

/* ---- running and the end ----------------------------------------------------------------------------- */

/* Answers what the kernel has sent already. */
static void drain(struct walfs *fs)
{
	struct fuse_buf buf = { .mem = NULL };
	struct pollfd pfd = { .fd = fuse_session_fd(fs->session), .events = POLLIN };
	for (int i = 0; i < LEFT_OVER_MAX && poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLIN); i++) {
		if (fuse_session_receive_buf(fs->session, &buf) <= 0)
			break;
		fuse_session_process_buf(fs->session, &buf);
	}
	free(buf.mem);
}

static int run(struct walfs *fs)
{
	set_signals(fs->session);
	int result = fuse_session_loop(fs->session);
	set_signals(NULL);
	if (signalled.came)
		drain(fs); /* the loop has lowered the session's flag again */
	/* An unmount says ECONNABORTED instead of ENODEV, which libfuse knows, where it meets a request on its way to us. */
	return result < 0 && result != -ECONNABORTED && !signalled.came ? -EIO : 0;
}

/* Gives back whatever there is. Returns the error of the last sync. */
static int close_fs(struct walfs *fs, bool was_mounted)
{
	walfs_files_stop(&fs->files);
	if (fs->workers)
		walfs_workers_drain(fs->workers);
	walfs_files_wait(&fs->files);
	/* Requests that queued behind a commit have become jobs. */
	walfs_workers_close(fs->workers);
	walfs_files_wait(&fs->files);
	bool all_closed = false;
	if (was_mounted) {
		struct pollfd pfd = { .fd = fuse_session_fd(fs->session), .events = POLLIN };
		all_closed = poll(&pfd, 1, 0) > 0 && (pfd.revents & POLLERR);
	}
	if (fs->session) {
		if (was_mounted)
			fuse_session_unmount(fs->session);
		fuse_session_destroy(fs->session);
		fs->session = NULL;
	}
	if (fs->store)
		walfs_files_drop(fs, all_closed);
	walfs_inodes_fini(&fs->inodes);
	walfs_files_fini(&fs->files);
	walfs_staged_fini(&fs->staged);
	walfs_users_fini(&fs->users);
	free(fs->scratch);
	int err = fs->store ? wal_store_close(fs->store) : 0;
	if (err < 0)
		walfs_log(fs->log, WALFS_LOG_ERROR, "closing the store failed error=\"%s\"", wal_strerror(err));
	return err;
}

static int mount_and_run(const struct walfs_opts *opts, struct walfs_log *log, const struct walfs_place *place,
			 struct walfs_daemon *daemon)
{
	struct walfs fs = { .opts = opts, .log = log, .ready = on_ready, .ready_arg = daemon };
	bool mounted = false;
	raise_open_files();
	int err = init_fs(&fs);
	if (err == 0)
		err = open_store(&fs, place);
	if (err == 0)
		err = mount_session(&fs, place);
	mounted = err == 0;
	if (err == 0)
		err = run(&fs);
	if (mounted)
		walfs_daemon_notify("STOPPING=1");
	int close_err = close_fs(&fs, mounted);
	return err < 0 ? err : close_err;
}

static int usage(const struct walfs_opts *opts)
{
	fprintf(stderr, "walfs: %s\nTry 'walfs --help'.\n", opts->problem);
	return EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct walfs_opts opts;
	struct walfs_log log;
	struct walfs_place place = { 0 };
	struct walfs_daemon daemon = { .ready_fd = -1 };
	char problem[1024] = "";
	int status = EXIT_FAILURE;

	int err = walfs_opts_parse(&opts, argc, argv);
	walfs_log_init(&log, opts.debug);
	if (err < 0) {
		status = usage(&opts);
	} else if (opts.help) {
		status = fputs(walfs_opts_help, stdout) < 0 || fflush(stdout) != 0;
	} else if (opts.version) {
		status = printf("walfs %s\n", wal_version()) < 0 || fflush(stdout) != 0;
	} else {
		err = walfs_place_find(&place, opts.store, opts.mountpoint, problem, sizeof(problem));
		if (err < 0)
			walfs_log(&log, WALFS_LOG_ERROR, "%s", problem[0] ? problem : strerror(-err));
		else if (!opts.foreground && (err = walfs_daemon_start(&daemon)) < 0)
			walfs_log(&log, WALFS_LOG_ERROR, "cannot start in the background: %s", strerror(-err));
		if (err == 0 && mount_and_run(&opts, &log, &place, &daemon) == 0)
			status = EXIT_SUCCESS;
	}
	walfs_place_fini(&place);
	walfs_opts_fini(&opts);
	walfs_log_fini(&log);
	return status;
}
