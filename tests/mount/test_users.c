/* SPDX-License-Identifier: MIT
 *
 * Users: for every name in the tree, every mode of the stream and every kind of user, what is allowed, and that nothing
 * else is. What is expected is computed from one line per name.
 */
#include "files.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* Numbers without a name in /etc/passwd. */
enum { OWNER = 12001, OTHER = 12002 };

struct who {
	const char *title;
	uid_t uid;
	gid_t gid, group; /* of the process, and its supplementary one */
	unsigned shift;   /* of the mode bits that are his; 32: all of them */
};

/* Streams in these tests belong to OWNER:OWNER. */
static const struct who everybody[] = {
	{ "owner", OWNER, OWNER, 0, 6 },
	{ "owner in another group", OWNER, OTHER, 0, 6 },
	{ "member of the group", OTHER, OWNER, 0, 3 },
	{ "member by a supplementary group", OTHER, OTHER, OWNER, 3 },
	{ "another user", OTHER, OTHER, 0, 0 },
	{ "root", 0, 0, 0, 32 },
};

/* A name in a stream. */
struct name {
	const char *name;
	unsigned mask; /* of the directory's mode */
	int write;     /* what an open for writing gives where the mode allows it, or to root */
	int content;   /* the records that a write of CONTENT makes; -1: nothing is written */
};

#define CONTENT "head\n\ncontent\n"

static const struct name names[] = {
	{ "append", 0666, 0, 1 },
	{ "append.line", 0666, 0, 3 },
	{ "append.msg", 0666, 0, 1 },
	{ "append.hdr", 0666, 0, -1 },
	{ "0000000001", 0444, EPERM, -1 },
	{ "1", 0444, EPERM, -1 },
	{ "0000000001.hdr", 0444, EPERM, -1 },
	{ "2.hdr", 0444, EPERM, -1 },
	{ "1.msg", 0444, EPERM, -1 },
	{ "first", 0444, EPERM, -1 },
	{ "last", 0444, EPERM, -1 },
	{ "all", 0444, EPERM, -1 },
	{ "follow", 0444, EPERM, -1 },
	{ "new.follow", 0444, EPERM, -1 },
	{ "1.follow", 0444, EPERM, -1 },
	{ "at/@0", 0444, EPERM, -1 },
	{ ".stat", 0444, EPERM, -1 },
	{ ".config", 0644, 0, -1 },
};

#define N_NAMES (sizeof(names) / sizeof(*names))

/* ---- in a child that is another user ------------------------------------------------------------------- */

static unsigned n_wrong;
static char about[128]; /* user and mode */

static void check(long got, int want, const char *what, const char *name)
{
	int err = got < 0 ? errno : 0;

	if (err == want)
		return;
	n_wrong++;
	printf("# %s: %s %s: %s, not %s\n", about, what, name, err ? strerror(err) : "allowed",
	       want ? strerror(want) : "allowed");
	(void)fflush(stdout);
}

static bool may(const struct who *who, unsigned mode, unsigned bits)
{
	return who->shift == 32 || ((mode >> who->shift) & bits) == bits;
}

static void check_open(const char *path, int flags, int want, const char *what, const char *name)
{
	int fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);

	check(fd, want, what, name);
	if (fd >= 0)
		(void)close(fd);
}

static void check_name(const struct mnt *m, const struct who *who, unsigned mode, const struct name *name)
{
	const char *path = mp(m, "s/%s", name->name);
	unsigned own = mode & name->mask;
	bool through = may(who, mode, 1);
	int reads = !through || !may(who, own, 4) ? EACCES : 0;
	int writes = !through || !may(who, own, 2) ? EACCES : name->write;
	int both = reads ? reads : writes;
	struct stat st;
	int n = stat(path, &st);

	check(n, through ? 0 : EACCES, "stat", name->name);
	if (n == 0 && (st.st_mode & 07777) != own) {
		n_wrong++;
		printf("# %s: the mode of %s is %04o, not %04o\n", about, name->name, st.st_mode & 07777, own);
		(void)fflush(stdout);
	}
	check_open(path, O_RDONLY, reads, "open for reading", name->name);
	check_open(path, O_WRONLY, writes, "open for writing", name->name);
	check_open(path, O_WRONLY | O_APPEND, writes, "open for appending", name->name);
	check_open(path, O_RDWR, both, "open for both", name->name);
}

static unsigned written; /* records */

static void check_write(const struct mnt *m, const struct who *who, unsigned mode, const struct name *name)
{
	int fd;

	if (name->content < 0 || !may(who, mode, 1) || !may(who, mode & name->mask, 2))
		return;
	fd = open(mp(m, "s/%s", name->name), O_WRONLY | O_APPEND | O_CLOEXEC);
	check(fd, 0, "open to write to", name->name);
	check(write(fd, CONTENT, strlen(CONTENT)), 0, "write", name->name);
	check(close(fd), 0, "close", name->name);
	written += (unsigned)name->content;
}

/* Attributes of a name in the stream: the kernel asks for the owner, and we allow what does nothing. */
static void check_attributes(const struct mnt *m, const struct who *who, unsigned mode, const char *name, unsigned mask)
{
	static const struct timespec times[2] = { { 1, 0 }, { 2, 0 } };
	const char *path = mp(m, "s/%s", name);
	bool through = may(who, mode, 1), owns = who->uid == OWNER || who->uid == 0;
	bool writes = may(who, mode & mask, 2);
	int no = mask & 0222 ? 0 : EPERM; /* what its owner gets */

	check(chmod(path, 0600), !through ? EACCES : owns ? no : EPERM, "chmod", name);
	check(chown(path, (uid_t)-1, who->gid), !through ? EACCES : owns ? no : EPERM, "chgrp", name);
	check(utimensat(AT_FDCWD, path, times, 0), !through ? EACCES : owns ? no : EPERM, "touch -d", name);
	check(utimensat(AT_FDCWD, path, NULL, 0), !through ? EACCES : owns || writes ? no : EACCES, "touch", name);
	check(truncate(path, 0), !through || !writes ? EACCES : no, "truncate", name);
}

static void check_directory(const struct mnt *m, const struct who *who, unsigned mode, uint64_t next)
{
	bool owns = who->uid == OWNER || who->uid == 0;
	/* Mode bits let into the directory; removing is the owner's. */
	int changes = !may(who, mode, 3) ? EACCES : 0;
	int removes = changes ? changes : owns ? 0 : EPERM;
	const char *path = mp(m, "s"), *creation = mp(m, "s/%" PRIu64, next),
		   *header = mp(m, "s/%" PRIu64 ".hdr", next);
	DIR *dir = opendir(path);
	int fd;

	check(dir ? 0 : -1, may(who, mode, 4) ? 0 : EACCES, "list", "the stream");
	if (dir)
		(void)closedir(dir);
	dir = opendir(mp(m, "s/at"));
	check(dir ? 0 : -1, may(who, mode, 1) && may(who, mode & 0555, 4) ? 0 : EACCES, "list", "at");
	if (dir)
		(void)closedir(dir);
	check(unlink(mp(m, "s/append")), removes, "unlink", "append");
	check(unlink(mp(m, "s/.config")), removes, "unlink", ".config");
	check(unlink(mp(m, "s/1.hdr")), removes, "unlink", "1.hdr");
	check(unlink(mp(m, "s/2")), removes ? removes : EPERM, "unlink", "a record in the middle");
	check(rename(mp(m, "s/1"), mp(m, "s/2")), changes ? changes : EPERM, "rename", "a record");
	check(mkdir(mp(m, "s/d"), 0700), changes ? changes : EPERM, "mkdir", "in the stream");
	check(symlink("x", mp(m, "s/l")), changes ? changes : EPERM, "symlink", "in the stream");
	check(open(mp(m, "s/other"), O_CREAT | O_WRONLY, 0600), changes ? changes : EPERM, "create", "a name");
	fd = open(creation, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	check(fd, changes, "create", "the next record");
	if (fd >= 0)
		(void)close(fd); /* nothing was written: no record */
	fd = open(header, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
	check(fd, changes, "create", "the next header");
	if (fd >= 0)
		(void)close(fd);

	check(rmdir(path), owns ? ENOTEMPTY : EPERM, "rmdir", "the stream");
	if (!owns) {
		check(rename(path, mp(m, "t")), EPERM, "rename", "the stream");
		check(chmod(path, 0777), EPERM, "chmod", "the stream");
		check(chown(path, who->uid, (gid_t)-1), EPERM, "chown", "the stream");
		check(chown(path, (uid_t)-1, who->gid), EPERM, "chgrp", "the stream");
		check(utimensat(AT_FDCWD, path, NULL, 0), may(who, mode, 2) ? 0 : EACCES, "touch", "the stream");
	}
}

/* The child's exit status; the number of records that it wrote goes to *ret_written. */
static int as_one(const struct mnt *m, const struct who *who, unsigned mode, uint64_t next, unsigned *ret_written)
{
	(void)snprintf(about, sizeof(about), "mode %04o, %s", mode, who->title);
	check_directory(m, who, mode, next);
	for (size_t i = 0; i < N_NAMES; i++) {
		check_name(m, who, mode, &names[i]);
		check_write(m, who, mode, &names[i]);
	}
	check_attributes(m, who, mode, "append", 0666);
	check_attributes(m, who, mode, "1", 0444);
	*ret_written = written;
	return n_wrong > 0;
}

/* ---- the tests ----------------------------------------------------------------------------------------- */

static void need_root(void)
{
	if (geteuid() != 0)
		skip_because("only root can act for other users");
}

static unsigned *shared_count(void)
{
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

/* A stream of OWNER with two records, of which the first has a header. */
static void prepare(struct mnt *m)
{
	struct stat st;

	mnt_start(m, "allow_other,umask=0");
	make_stream(m, "s");
	put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("h\n"));
	append(m, "s", "one\n");
	append(m, "s", "two\n");
	must(chown(mp(m, "s"), OWNER, OWNER));
	for (size_t i = 0; i < N_NAMES; i++)
		must(stat(mp(m, "s/%s", names[i].name), &st));
}

static void every_name_and_mode(void **state)
{
	struct mnt *m = *state;
	unsigned modes[64], n = 0, wrong = 0, *count = shared_count();
	uint64_t last = 2;
	struct stat st;

	need_root();
	prepare(m);
	/* Each set of bits for one class, with none and with all for the others: the right class is looked at, and no other. */
	for (unsigned shift = 0; shift <= 6; shift += 3)
		for (unsigned bits = 0; bits < 8; bits++) {
			modes[n++] = bits << shift;
			modes[n++] = (bits << shift) | (0777 & ~(7u << shift));
		}
	modes[n++] = 0755;
	modes[n++] = 0750;
	modes[n++] = 0733;
	mnt_watchdog(100);
	for (unsigned i = 0; i < n; i++) {
		must(chmod(mp(m, "s"), modes[i]));
		/* Of a record that was looked at, the kernel keeps the mode for a second, unless it is asked for anew: as it is
		 * by a spelling that is not the listed one. */
		must(stat(mp(m, "s/%" PRIu64, last), &st));
		for (unsigned k = 0; k < sizeof(everybody) / sizeof(*everybody); k++) {
			const struct who *who = &everybody[k];
			pid_t pid = run_fork_as(who->uid, who->gid, who->group);

			*count = 0;
			if (pid == 0)
				_exit(as_one(m, who, modes[i], last + 1, count));
			wrong += run_reap(pid, 30) != 0;
			last += *count;
			/* What was not allowed did nothing. */
			if (last_seq(m, "s") != last)
				fail_msg("mode %04o, %s: %" PRIu64 " records, not %" PRIu64, modes[i], who->title,
					 last_seq(m, "s"), last);
		}
		if (wrong > 10)
			break;
	}
	assert_int_equal(wrong, 0);
	assert_int_equal(first_seq(m, "s"), 1);
	assert_file(mp(m, "s/1"), BYTES("one\n"));
	assert_file(mp(m, "s/1.hdr"), BYTES("h\n"));
	(void)munmap(count, 4096);
}

static int as_in(struct mnt *m, const char *dir, uid_t uid, gid_t gid, const char *script)
{
	char env_m[256], env_t[256];
	const char *const env[] = { env_m, env_t, NULL };
	struct run r = { .argv = (const char *const[]){ "/bin/sh", "-c", script, NULL },
			 .dir = dir,
			 .env = env,
			 .uid = uid,
			 .gid = gid };
	int code;

	(void)snprintf(env_m, sizeof(env_m), "M=%s", m->at);
	(void)snprintf(env_t, sizeof(env_t), "T=%s", m->tmp);
	run_cmd(&r);
	code = r.code;
	if (code != 0)
		tap_note("%s: %s%s", script, r.out, r.err);
	run_free(&r);
	return code;
}

/* Runs it as the user in a shell in the mount point; its exit status. */
static int as(struct mnt *m, uid_t uid, gid_t gid, const char *script)
{
	return as_in(m, m->at, uid, gid, script);
}

/* A mode that takes a right away is in force at once for names and appends, within a second for records that were read. */
static void modes_in_force(void **state)
{
	struct mnt *m = *state;
	double deadline;

	need_root();
	prepare(m);
	must(chmod(mp(m, "s"), 0777));
	assert_int_equal(as(m, OTHER, OTHER, "cat s/0000000001 && ls s && /bin/true >> s/append && cat s/.config"), 0);
	must(chmod(mp(m, "s"), 0711));
	deadline = deadline_after(20);
	assert_int_not_equal(as(m, OTHER, OTHER, "ls s || /bin/true >> s/append || cat s/.config || cat s/append"), 0);
	while (as(m, OTHER, OTHER, "cat s/0000000001") == 0)
		assert_true(deadline_pause(deadline));
	must(chmod(mp(m, "s"), 0700));
	assert_int_not_equal(as(m, OTHER, OTHER, "stat s/0000000001"), 0);
	assert_int_equal(as(m, OWNER, OWNER, "cat s/0000000001 && ls s && /bin/true >> s/append"), 0);
	must(chown(mp(m, "s"), OTHER, OTHER));
	assert_int_not_equal(as(m, OWNER, OWNER, "ls s || /bin/true >> s/append || cat s/0000000001"), 0);
	assert_int_equal(as(m, OTHER, OTHER, "ls s && /bin/true >> s/append && cat s/0000000001"), 0);
}

/* Removing is for the owner, whoever else may write: trim, rmdir, rename. */
static void removing(void **state)
{
	struct mnt *m = *state;

	need_root();
	prepare(m);
	must(chmod(mp(m, "s"), 0777));
	assert_int_equal(
		as(m, OTHER, OTHER,
		   "mkdir mine empty && chmod 777 mine empty && echo x >> mine/append && echo 3 >> s/append && "
		   "! rm s/1 && ! rm -rf s && ! rm -f s/append && ! mv s t && ! chmod 700 s && ! rm -rf s/*"),
		0);
	assert_int_equal(as(m, OWNER, OWNER,
			    "! rmdir empty && ! rm -r mine && ! mv empty full && ! mv -T s empty && ! mv -T empty s && "
			    "echo y >> mine/append"),
			 0);
	assert_texts(m, "s", "one\n", "two\n", "3\n");
	assert_texts(m, "mine", "x\n", "y\n");
	/* The owner may, and so may root, whatever the mode. */
	assert_int_equal(as(m, OWNER, OWNER, "rm s/1 && ! rm s/3 && mv s t && chmod 0 t && mv t s && chmod 700 s"), 0);
	assert_int_equal(first_seq(m, "s"), 2);
	assert_int_equal(as(m, OTHER, OTHER, "! mv -T mine s && rmdir empty && rm -r mine && ! test -e mine"), 0);
	assert_int_equal(sh(m, "rm s/2 && mv s t && rm -r t && test \"$(ls)\" = ''"), 0);
}

/* A stream may say "append, and no more": 0733 gives writing without reading or listing. */
static void append_and_no_more(void **state)
{
	struct mnt *m = *state;

	need_root();
	prepare(m);
	must(chmod(mp(m, "s"), 0733));
	assert_int_equal(
		as(m, OTHER, OTHER,
		   "echo 3 >> s/append && ! ls s && ! cat s/1 && ! cat s/append && ! cat s/last && ! cat s/.stat && "
		   "! cat s/.config && ! cat s/1.hdr && ! rm s/1 && ! cp s/1 $T/x"),
		0);
	assert_texts(m, "s", "one\n", "two\n", "3\n");
}

/* What is written and not committed is nobody else's to see, wherever it is; nor root's. */
static void pending_is_private(void **state)
{
	static const char secret[] = "secret", *const appends[] = { "s/append", "s/append.line", "s/append.msg",
								    "s/3" };
	struct mnt *m = *state;

	need_root();
	prepare(m);
	must(chmod(mp(m, "s"), 0777));
	for (unsigned i = 0; i < sizeof(appends) / sizeof(*appends); i++) {
		int fd = (int)must(open(mp(m, "%s", appends[i]), O_WRONLY | O_CREAT, 0666));

		write_all(fd, secret, sizeof(secret) - 1);
		assert_int_equal(
			as(m, OTHER, OTHER,
			   "! cat s/3 && ! cat s/3.msg && test -z \"$(cat s/append s/append.line s/append.msg)\" && "
			   "test \"$(ls s/*[0-9] | wc -l)\" = 2 && "
			   "! grep -r secret . && test \"$(head -c 8 s/follow)\" = \"$(cat s/1 s/2)\""),
			0);
		must(close(fd));
		must(unlink(mp(m, "s/1")));
		must(unlink(mp(m, "s/2")));
		must(unlink(mp(m, "s/3")));
		must(rmdir(mp(m, "s")));
		make_stream(m, "s");
		append(m, "s", "one\n");
		append(m, "s", "two\n");
		must(chmod(mp(m, "s"), 0777));
	}
}

/* .walfs and the root: everybody looks, the owner of the mount changes. */
static void the_store(void **state)
{
	static const char *const files[] = { "version", "status", "stats", "metrics", "config", "sync" };
	struct mnt *m = *state;

	need_root();
	prepare(m);
	for (unsigned i = 0; i < sizeof(files) / sizeof(*files); i++) {
		const char *path = mp(m, ".walfs/%s", files[i]);
		bool writable = i >= 4;
		struct stat st;
		pid_t pid;

		must(stat(path, &st));
		assert_int_equal(st.st_mode & 07777, writable ? 0644 : 0444);
		assert_int_equal(st.st_uid, 0);
		pid = run_fork_as(OTHER, OTHER, 0);
		if (pid == 0) {
			(void)snprintf(about, sizeof(about), "another user");
			check_open(path, O_RDONLY, 0, "open for reading", path);
			check_open(path, O_WRONLY, EACCES, "open for writing", path);
			check(truncate(path, 0), EACCES, "truncate", path);
			check(chmod(path, 0666), EPERM, "chmod", path);
			check(unlink(path), EACCES, "unlink", path);
			_exit(n_wrong > 0);
		}
		assert_int_equal(run_reap(pid, 30), 0);
		if (writable)
			check_open(path, O_WRONLY, 0, "open for writing", path);
		else
			assert_errno(open(path, O_WRONLY), EPERM);
	}
	assert_int_equal(
		as(m, OTHER, OTHER,
		   "! mkdir .walfs/x && ! rm -rf .walfs && ! mv .walfs y && ! mv .walfs/sync z && ! touch f && "
		   "! chmod 777 . && ! chown 12002 . && ! ln -s a b && ! mv s .walfs/s && "
		   "! echo durable=no > .walfs/config && ! echo > .walfs/sync"),
		0);
	assert_int_equal(n_wrong, 0);
}

/* Without umask= streams are made by the owner of the mount alone, and without allow_other nobody else gets in. */
static void by_default(void **state)
{
	struct mnt *m = *state;

	need_root();
	mnt_start(m, "allow_other");
	make_stream(m, "s");
	must(chown(mp(m, "s"), OWNER, OWNER));
	assert_int_equal(as(m, OWNER, OWNER,
			    "! mkdir t && ! mv s t && ! rmdir s && echo x >> s/append && chmod 700 s && rm s/1"),
			 0);
	assert_int_equal(as(m, OTHER, OTHER, "! echo x >> s/append && ! ls s"), 0);
	mnt_restart(m, NULL);
	assert_int_equal(as_in(m, m->tmp, OWNER, OWNER, "! ls $M && ! echo x >> $M/s/append && ! stat $M"), 0);
	assert_int_equal(last_seq(m, "s"), 0);
}

/* mkdir gives the stream to its caller, with his mode. */
static void making(void **state)
{
	struct mnt *m = *state;
	struct stat st;

	need_root();
	mnt_start(m, "allow_other,umask=0");
	assert_int_equal(as(m, OTHER, OWNER, "umask 027 && mkdir a && mkdir -m 1777 b && umask 0 && mkdir c"), 0);
	for (unsigned again = 0; again < 2; again++) {
		must(stat(mp(m, "a"), &st));
		assert_int_equal(st.st_mode & 07777, 0750);
		assert_int_equal(st.st_uid, OTHER);
		assert_int_equal(st.st_gid, OWNER);
		must(stat(mp(m, "b"), &st));
		assert_int_equal(st.st_mode & 07777, 01777);
		must(stat(mp(m, "c"), &st));
		assert_int_equal(st.st_mode & 07777, 0777);
		mnt_restart(m, "allow_other,umask=0");
	}
}

/* ---- headers ------------------------------------------------------------------------------------------- */

enum { ROUNDS = 300 };

/* Stages a header of one's own, sees it, appends with it, and never sees another's. */
static int stage_and_append(const struct mnt *m, unsigned id)
{
	char want[64], got[256];
	for (unsigned i = 0; i < ROUNDS; i++) {
		int fd = open(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC), len;
		ssize_t n;

		len = snprintf(want, sizeof(want), "header of %u, %u\n", id, i);
		if (fd < 0 || write(fd, want, (size_t)len) != len || close(fd) < 0)
			return 1;
		fd = open(mp(m, "s/append.hdr"), O_RDONLY);
		n = read(fd, got, sizeof(got));
		if (fd < 0 || n != len || memcmp(got, want, (size_t)len) != 0) {
			printf("# %u sees %zd bytes '%.*s' and not its own\n", id, n, (int)(n > 0 ? n : 0), got);
			(void)fflush(stdout);
			return 2;
		}
		(void)close(fd);
		fd = open(mp(m, "s/append"), O_WRONLY | O_APPEND);
		if (fd < 0 || write(fd, want, (size_t)len) != len || close(fd) < 0)
			return 3;
	}
	return 0;
}

/* The header for the next record by its number is its user's, too: for the record that he creates, and nobody else's to see. */
static void headers_by_number(void **state)
{
	struct mnt *m = *state;

	need_root();
	prepare(m);
	must(chmod(mp(m, "s"), 0777));
	assert_int_equal(as(m, OTHER, OTHER, "echo other > s/3.hdr"), 0);
	assert_int_equal(
		as(m, OWNER, OWNER, "! cat s/3.hdr && ! grep -q other s/append.hdr && ( set -C; echo x > s/3 )"), 0);
	assert_file(mp(m, "s/3.hdr"), BYTES(""));
	assert_int_equal(as(m, OTHER, OTHER, "echo mine > s/4.hdr && ( set -C; echo y > s/4 )"), 0);
	assert_file(mp(m, "s/4.hdr"), BYTES("mine\n"));
	/* Who may not create a name in the stream may not create a record by it, though he may append. */
	must(chmod(mp(m, "s"), 0722));
	assert_int_equal(as(m, OTHER, OTHER, "! echo z > s/5"), 0);
	must(chmod(mp(m, "s"), 0711));
	assert_int_equal(as(m, OTHER, OTHER, "! echo z > s/5 && ! echo z > s/5.hdr"), 0);
	assert_int_equal(last_seq(m, "s"), 4);
}

static void headers_of_two(void **state)
{
	struct mnt *m = *state;
	pid_t pids[3];

	need_root();
	mnt_start(m, "allow_other,umask=0,relaxed");
	make_stream(m, "s");
	must(chmod(mp(m, "s"), 0777));
	for (unsigned i = 0; i < 3; i++) {
		pids[i] = i < 2 ? run_fork_as(OWNER + i, OWNER + i, 0) : run_fork();
		if (pids[i] == 0)
			_exit(stage_and_append(m, i));
	}
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(run_reap(pids[i], 60), 0);
	assert_int_equal(last_seq(m, "s"), 3 * ROUNDS);
	/* Each record has the header of its writer, which says what the content says. */
	for (unsigned i = 1; i <= 3 * ROUNDS; i++)
		assert_same_file(mp(m, "s/%u", i), mp(m, "s/%u.hdr", i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST_BARE(every_name_and_mode),
		MNT_TEST_BARE(modes_in_force),
		MNT_TEST_BARE(removing),
		MNT_TEST_BARE(append_and_no_more),
		MNT_TEST_BARE(pending_is_private),
		MNT_TEST_BARE(the_store),
		MNT_TEST_BARE(by_default),
		MNT_TEST_BARE(making),
		MNT_TEST_BARE(headers_of_two),
		MNT_TEST_BARE(headers_by_number),
	};

	return mnt_main("users", tests, sizeof(tests) / sizeof(*tests));
}
