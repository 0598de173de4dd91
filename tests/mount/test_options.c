/* SPDX-License-Identifier: MIT
 *
 * Starting, options, and what is refused with which words; ends by signal; readiness.
 */
#include "files.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static void assert_says(char *said, const char *word)
{
	if (!strcasestr(said, word))
		fail_msg("no '%s' in what walfs said: %s", word, said);
}

static void bad_options(void **state)
{
	static const char *const bad[][2] = {
		{ "nonsense", "nonsense" },        { "nonsense=7", "nonsense" },
		{ "digits=x", "digits" },          { "digits=99", "digits" },
		{ "digits=-1", "digits" },         { "digits=", "digits" },
		{ "interval=soon", "interval" },   { "max_record=0x", "max_record" },
		{ "max_record=-1", "max_record" }, { "relaxed,nonsense", "nonsense" },
		{ "uid=nobody-at-all", "uid" },    { "umask=999", "umask" },
		{ "user_files=0", "user_files" },  { "user_pending=much", "user_pending" },
	};
	struct mnt *m = *state;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		char *said = mnt_refused(m, m->store, m->at, bad[i][0]);

		if (!strstr(said, bad[i][1]))
			fail_msg("-o %s: no '%s' in what walfs said: %s", bad[i][0], bad[i][1], said);
		free(said);
		assert_false(mnt_is_mounted(m->at));
	}
}

static void bad_usage(void **state)
{
	struct mnt *m = *state;
	const char *walfs = getenv("WALFS");
	char *said;

	assert_int_equal(run_sh(2, "'%s'", walfs), 2);
	assert_int_equal(run_sh(2, "'%s' '%s'", walfs, m->store), 2);
	assert_int_equal(run_sh(2, "'%s' '%s' '%s' third", walfs, m->store, m->at), 2);
	assert_int_equal(run_sh(2, "'%s' --nonsense '%s' '%s'", walfs, m->store, m->at), 2);
	assert_int_equal(run_sh(0, "'%s' --help | grep -q digits", walfs), 0);
	assert_int_equal(run_sh(0, "'%s' --version | grep -q '[0-9]'", walfs), 0);
	said = mnt_refused(m, m->store, tp(m, "nowhere"), NULL);
	assert_says(said, "nowhere");
	free(said);
	put(tp(m, "file"), O_WRONLY | O_CREAT, BYTES("x"));
	free(mnt_refused(m, m->store, tp(m, "file"), NULL));
	said = mnt_refused(m, tp(m, "file"), m->at, NULL);
	assert_says(said, "file");
	free(said);
}

static void foreign_directory(void **state)
{
	struct mnt *m = *state;
	char *said;
	size_t n;

	must(mkdir(tp(m, "photos"), 0755));
	put(tp(m, "photos/holiday.jpg"), O_WRONLY | O_CREAT, BYTES("x"));
	said = mnt_refused(m, tp(m, "photos"), m->at, NULL);
	assert_says(said, "photos");
	tap_note("%s", said);
	free(said);
	names_free(names_of(tp(m, "photos"), &n));
	assert_int_equal(n, 1);
	assert_file(tp(m, "photos/holiday.jpg"), BYTES("x"));
	assert_false(mnt_is_mounted(m->at));
}

static void store_in_use(void **state)
{
	struct mnt *m = *state;
	char *said, pid[32];

	make_stream(m, "s");
	append(m, "s", "a");
	must(mkdir(tp(m, "other"), 0755));
	said = mnt_refused(m, m->store, tp(m, "other"), NULL);
	(void)snprintf(pid, sizeof(pid), "%d", (int)m->daemon);
	assert_says(said, pid);
	tap_note("%s", said);
	free(said);
	/* The one that is there goes on. */
	append(m, "s", "b");
	assert_texts(m, "s", "a", "b");
	mnt_verify(m, 0); /* readers may look at a store in use */
}

static void below_its_own_mount(void **state)
{
	struct mnt *m = *state;
	char *said;

	must(mkdir(tp(m, "d"), 0755));
	must(mkdir(tp(m, "d/store"), 0755));
	said = mnt_refused(m, tp(m, "d/store"), tp(m, "d"), NULL);
	tap_note("%s", said);
	assert_says(said, "mount");
	free(said);
	free(mnt_refused(m, tp(m, "d/store"), tp(m, "d/store"), NULL));
	free(mnt_refused(m, tp(m, "d/missing"), tp(m, "d"), NULL));
	assert_false(mnt_is_mounted(tp(m, "d")));
}

static void missing_store_is_made(void **state)
{
	struct mnt *m = *state;

	must(rmdir(m->store));
	mnt_start(m, NULL);
	make_stream(m, "s");
	append(m, "s", "a");
	mnt_restart(m, NULL);
	assert_texts(m, "s", "a");
}

static void over_a_dead_mount(void **state)
{
	struct mnt *m = *state;
	struct statvfs st;

	make_stream(m, "s");
	append(m, "s", "a");
	for (int i = 0; i < 3; i++) {
		mnt_kill(m);
		assert_errno(statvfs(m->at, &st), ENOTCONN);
		mnt_start(m, NULL);
	}
	assert_texts(m, "s", "a");
	mnt_stop(m);
	assert_false(mnt_is_mounted(m->at)); /* nor is a dead one left below it */
	mnt_start(m, NULL);
}

static void ends_by_signal(void **state)
{
	static const int signals[] = { SIGTERM, SIGINT };
	struct mnt *m = *state;

	mnt_start(m, "relaxed");
	make_stream(m, "s");
	for (unsigned i = 0; i < 2; i++) {
		append(m, "s", "a");
		must(kill(m->daemon, signals[i]));
		assert_int_equal(run_wait(m->daemon, 30), 0);
		m->daemon = 0;
		assert_false(mnt_is_mounted(m->at));
		mnt_start(m, NULL);
	}
	assert_texts(m, "s", "a", "a");
}

/* Ends while a record is being written: it is none, and the daemon ends all the same. */
static void ends_in_mid_record(void **state)
{
	struct mnt *m = *state;
	int fd;

	make_stream(m, "s");
	append(m, "s", "a");
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY));
	write_all(fd, "half", 4);
	must(kill(m->daemon, SIGTERM));
	assert_int_equal(run_wait(m->daemon, 30), 0);
	m->daemon = 0;
	(void)close(fd);
	(void)umount2(m->at, MNT_DETACH);
	mnt_start(m, NULL);
	assert_int_equal(last_seq(m, "s"), 1);
	append(m, "s", "b");
	assert_texts(m, "s", "a", "b");
}

/* The daemon in the background is a child of this program, which is a subreaper. */
static void wait_background(struct mnt *m)
{
	pid_t pid = 0;
	char *text;

	text = sh_out(m,
		      "cd /; for p in /proc/[0-9]*; do tr '\\0' '\\n' < $p/cmdline 2>/dev/null | grep -qxF '%s' && "
		      "test \"$(cut -d' ' -f4 $p/stat 2>/dev/null)\" = %d && echo ${p#/proc/}; done; true",
		      m->store, (int)getpid());
	pid = (pid_t)strtol(text, NULL, 10);
	free(text);
	assert_true(pid > 0);
	must(umount2(m->at, 0));
	assert_int_equal(run_reap(pid, 30), 0);
}

static void in_the_background(void **state)
{
	struct mnt *m = *state;

	assert_int_equal(run_sh(0, "'%s' '%s' '%s' -o relaxed && mkdir '%s/s' && echo a >> '%s/s/append'",
				getenv("WALFS"), m->store, m->at, m->at, m->at),
			 0);
	assert_texts(m, "s", "a\n");
	wait_background(m);
	/* What goes wrong is said, and told by the exit status, before it goes to the background. */
	assert_int_not_equal(run_sh(1, "'%s' '%s' '%s'", getenv("WALFS"), tp(m, ".."), m->at), 0);
	mnt_start(m, NULL);
	assert_texts(m, "s", "a\n");
}

/* What mount(8) runs for `-t fuse.walfs` and for fstab: its helper, which finds walfs in PATH. (mount(8) itself forgets PATH,
 * so that only an installed walfs would be found.) */
static void by_mount(void **state)
{
	struct mnt *m = *state;
	char *dir = strdup(getenv("WALFS")), *slash = strrchr(dir, '/');
	const char *helper = access("/sbin/mount.fuse3", X_OK) == 0 ? "/sbin/mount.fuse3" : "/sbin/mount.fuse";

	if (geteuid() != 0)
		skip_because("only root can call mount");
	if (access(helper, X_OK) != 0)
		skip_because("there is no /sbin/mount.fuse3");
	if (!slash || strcmp(slash, "/walfs") != 0)
		skip_because("%s is not named walfs", getenv("WALFS"));
	*slash = '\0';
	assert_int_equal(run_sh(0, "PATH='%s':$PATH %s '%s' '%s' -o rw,digits=3,dev,suid -t fuse.walfs", dir, helper,
				m->store, m->at),
			 0);
	free(dir);
	make_stream(m, "s");
	append(m, "s", "a");
	assert_int_equal(
		sh(m, "test \"$(readlink s/last)\" = 001 && grep ' fuse.walfs ' /proc/self/mounts | grep -q %s", m->at),
		0);
	wait_background(m);
	mnt_verify(m, 0);
}

static void tells_systemd(void **state)
{
	struct mnt *m = *state;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	char text[512] = "";
	struct pollfd pfd = { .events = POLLIN };

	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%.90s/notify", m->root);
	pfd.fd = (int)must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	must(bind(pfd.fd, (struct sockaddr *)&addr, sizeof(addr)));
	must(setenv("NOTIFY_SOCKET", addr.sun_path, 1));
	mnt_start(m, NULL);
	must(unsetenv("NOTIFY_SOCKET"));
	assert_int_equal(must(poll(&pfd, 1, (int)(30000 * deadline_scale()))), 1);
	must(recv(pfd.fd, text, sizeof(text) - 1, 0));
	if (!strstr(text, "READY=1"))
		fail_msg("the datagram is '%s'", text);
	must(close(pfd.fd));
}

static void append_only(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	make_stream(m, "empty");
	append(m, "s", "a");
	mnt_restart(m, "append_only");
	append(m, "s", "b");
	assert_errno(unlink(mp(m, "s/1")), EPERM);
	assert_errno(rmdir(mp(m, "empty")), EPERM);
	assert_errno(rename(mp(m, "s"), mp(m, "t")), EPERM);
	assert_int_not_equal(sh(m, "rm -rf s 2>/dev/null"), 0);
	make_stream(m, "new");
	append(m, "new", "c");
	assert_texts(m, "s", "a", "b");
	mnt_restart(m, NULL);
	must(unlink(mp(m, "s/1")));
}

static void read_only(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "s");
	put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("h"));
	append(m, "s", "a");
	mnt_restart(m, "ro");
	assert_texts(m, "s", "a");
	assert_file(mp(m, "s/1.hdr"), BYTES("h"));
	assert_errno(open(mp(m, "s/append"), O_WRONLY), EROFS);
	assert_errno(open(mp(m, "s/append.hdr"), O_WRONLY), EROFS);
	assert_errno(open(mp(m, "s/.config"), O_WRONLY), EROFS);
	assert_errno(mkdir(mp(m, "t"), 0755), EROFS);
	assert_errno(rmdir(mp(m, "s")), EROFS);
	assert_errno(unlink(mp(m, "s/1")), EROFS);
	assert_errno(rename(mp(m, "s"), mp(m, "t")), EROFS);
	assert_errno(chmod(mp(m, "s"), 0700), EROFS);
	assert_int_equal(sh(m, "head -1 .walfs/status | grep -q '^ok' && cat s/.stat s/.config > /dev/null"), 0);
	mnt_restart(m, NULL);
	append(m, "s", "b");
	assert_texts(m, "s", "a", "b");
}

static void relaxed_and_interval(void **state)
{
	static const char *const opts[] = { "relaxed", "relaxed,interval=50ms", "durable", "durable,interval=2s",
					    "interval=1s" };
	struct mnt *m = *state;

	for (unsigned i = 0; i < sizeof(opts) / sizeof(*opts); i++) {
		bool relaxed = strncmp(opts[i], "relaxed", 7) == 0;
		char name[16];

		mnt_start(m, opts[i]);
		(void)snprintf(name, sizeof(name), "s%u", i);
		make_stream(m, name);
		append(m, name, "a");
		assert_texts(m, name, "a");
		if (sh(m, "awk '$1 == \"durable\" { d = $2 } END { exit !(d == \"%s\" || d == \"%s\") }' %s/.stat",
		       relaxed ? "0" : "1", relaxed ? "no" : "yes", name) != 0)
			fail_msg("-o %s: .stat tells another kind", opts[i]);
		mnt_stop(m);
	}
	mnt_start(m, NULL);
	assert_texts(m, "s0", "a");
}

/* The write that goes over the limit is refused, and nothing of its record is kept. */
static void limit(struct mnt *m, size_t max)
{
	char *buf = calloc(1, max + 10);
	int fd;

	make_stream(m, "s");
	put(mp(m, "s/append"), O_WRONLY, (struct bytes){ buf, max });
	assert_int_equal(last_seq(m, "s"), 1);
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY));
	assert_errno(write(fd, buf, max + 1), EFBIG);
	(void)close(fd);
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY | O_APPEND));
	assert_int_equal(must(write(fd, buf, max)), max);
	assert_errno(write(fd, buf, 1), EFBIG);
	(void)close(fd);
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY | O_DIRECT));
	assert_errno(write(fd, buf, max + 1), EFBIG);
	must(close(fd));
	fd = (int)must(open(mp(m, "s/append"), O_WRONLY));
	assert_errno(ftruncate(fd, (off_t)max + 1), EFBIG);
	(void)close(fd);
	assert_int_not_equal(sh(m, "head -c %zu /dev/zero 2>/dev/null | cat > s/append 2>/dev/null", 20 * max), 0);
	assert_int_not_equal(sh(m, "truncate -s %zu $T/sparse; cp $T/sparse s/append 2>/dev/null", 20 * max), 0);
	assert_int_equal(last_seq(m, "s"), 1);
	append(m, "s", "small");
	assert_file(mp(m, "s/2"), BYTES("small"));
	free(buf);
}

static void max_record(void **state)
{
	struct mnt *m = *state;

	mnt_start(m, "max_record=1000");
	limit(m, 1000);
	mnt_restart(m, NULL);
	assert_int_equal(sh(m, "head -c 5000 /dev/zero > s/append && test $(stat -c %%s s/3) = 5000"), 0);
}

static void max_record_of_a_large_one(void **state)
{
	struct mnt *m = *state;

	mnt_start(m, "max_record=512K");
	limit(m, 512 * 1024);
}

static void uid_gid_umask(void **state)
{
	struct mnt *m = *state;
	struct stat st;

	if (geteuid() != 0)
		skip_because("only root can show others as owners");
	mnt_start(m, "uid=1234,gid=5678,umask=027");
	make_stream(m, "s");
	append(m, "s", "a");
	for (unsigned i = 0; i < 4; i++) {
		must(stat(mp(m, "%s", (const char *const[]){ ".", "s", "s/1", "s/append" }[i]), &st));
		assert_int_equal(st.st_uid, 1234);
		assert_int_equal(st.st_gid, 5678);
		assert_int_equal(st.st_mode & 027, 0);
	}
}

static void disk_below(void **state)
{
	struct mnt *m = *state;
	struct statvfs here, below;
	uint64_t a, b;

	must(statvfs(m->at, &here));
	must(statvfs(m->store, &below));
	assert_int_equal((uint64_t)here.f_blocks * here.f_frsize, (uint64_t)below.f_blocks * below.f_frsize);
	a = (uint64_t)here.f_bavail * here.f_frsize;
	b = (uint64_t)below.f_bavail * below.f_frsize;
	assert_true((a > b ? a - b : b - a) < UINT64_C(2) << 30); /* others use the disk meanwhile */
	assert_int_equal(here.f_files, below.f_files);
	assert_int_equal(here.f_namemax, 255);
	assert_int_equal(sh(m, "df . | tail -1 | grep -q '%%' && df -i . > /dev/null && stat -f . > /dev/null"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST_BARE(bad_options),
		MNT_TEST_BARE(bad_usage),
		MNT_TEST_BARE(foreign_directory),
		MNT_TEST(store_in_use),
		MNT_TEST_BARE(below_its_own_mount),
		MNT_TEST_BARE(missing_store_is_made),
		MNT_TEST(over_a_dead_mount),
		MNT_TEST_BARE(ends_by_signal),
		MNT_TEST(ends_in_mid_record),
		MNT_TEST_BARE(in_the_background),
		MNT_TEST_BARE(by_mount),
		MNT_TEST_BARE(tells_systemd),
		MNT_TEST(append_only),
		MNT_TEST(read_only),
		MNT_TEST_BARE(relaxed_and_interval),
		MNT_TEST_BARE(max_record),
		MNT_TEST_BARE(max_record_of_a_large_one),
		MNT_TEST_BARE(uid_gid_umask),
		MNT_TEST(disk_below),
	};

	return mnt_main("options", tests, sizeof(tests) / sizeof(*tests));
}
