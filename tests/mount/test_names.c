/* SPDX-License-Identifier: MIT
 *
 * Streams by name: mkdir, rename, rmdir, owner and mode; and all that is refused.
 */
#include "files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static void canonical(void **state)
{
	static const char *const names[] = {
		"orders",
		"user-123",
		"topic:partition:3",
		"with a space",
		" lead and trail ",
		"a%2Fb",
		"%2F",
		"%2Ehidden",
		"%2E",
		"%2E.",
		"100%25",
		"a%0Ab",
		"a%7Fb",
		"%01x",
		"%1F",
		"a.b",
		"a..b",
		"a.",
		"-rf",
		"*",
		"?[x]",
		"back\\slash",
		"quo\"te'",
		"~",
		"$HOME",
		"#x",
		"\xc5\xbc\xc3\xb3\xc5\x82\xc4\x87",
		"\xff\xfe",
		"\xe6\x97\xa5\xe6\x9c\xac",
		"append",
		"first",
		"1",
		"0000000001",
		"all",
		"at",
		"CON",
	};
	enum { N = sizeof(names) / sizeof(*names) };
	struct mnt *m = *state;

	for (unsigned i = 0; i < N; i++)
		make_stream(m, names[i]);
	for (unsigned i = 0; i < N; i++)
		append(m, names[i], names[i]);
	for (int again = 0; again < 2; again++) {
		char **listed = names_of(m->at, NULL);

		for (unsigned i = 0; i < N; i++) {
			assert_errno(mkdir(mp(m, "%s", names[i]), 0755), EEXIST);
			assert_file(mp(m, "%s/1", names[i]), (struct bytes){ names[i], strlen(names[i]) });
			if (!names_have(listed, names[i]))
				fail_msg("'%s' is not listed", names[i]);
		}
		assert_true(names_have(listed, ".walfs"));
		names_free(listed);
		mnt_restart(m, NULL);
	}
}

static void not_canonical(void **state)
{
	static const char *const names[] = { "a%41", "%2f",     "%",          "%4",   "a%",   "a%zz",
					     "%00",  ".hidden", "a%2Eb",      "a\nb", "\x7f", "\x01x",
					     "%20",  "%C5%BC",  "lost+found", "...",  "%2G",  "%2E%2E" };
	struct mnt *m = *state;
	struct stat st;
	size_t n;

	make_stream(m, "good");
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (mkdir(mp(m, "%s", names[i]), 0755) != -1 || errno != EINVAL)
			fail_msg("mkdir '%s': %s, not EINVAL", names[i], strerror(errno));
		assert_errno(stat(mp(m, "%s", names[i]), &st), ENOENT);
		assert_errno(rmdir(mp(m, "%s", names[i])), ENOENT);
		if (rename(mp(m, "good"), mp(m, "%s", names[i])) != -1 || errno != EINVAL)
			fail_msg("rename to '%s': %s, not EINVAL", names[i], strerror(errno));
	}
	names_free(names_of(m->at, &n));
	assert_int_equal(n, 2);
}

static void long_names(void **state)
{
	struct mnt *m = *state;
	char name[1100];

	memset(name, 'x', sizeof(name));
	name[255] = '\0';
	make_stream(m, name);
	append(m, name, "a");
	assert_texts(m, name, "a");
	name[255] = 'x';
	name[256] = '\0';
	assert_errno(mkdir(mp(m, "%s", name), 0755), ENAMETOOLONG);
	name[256] = 'x';
	name[1090] = '\0';
	assert_errno(mkdir(mp(m, "%s", name), 0755), ENAMETOOLONG);
	/* 85 slashes are 255 bytes as a name, 86 are too many. */
	name[0] = '\0';
	for (int i = 0; i < 85; i++)
		(void)snprintf(name + 3 * (ptrdiff_t)i, 4, "%%2F");
	make_stream(m, name);
	(void)snprintf(name + 255, 4, "%%2F");
	assert_errno(mkdir(mp(m, "%s", name), 0755), ENAMETOOLONG);
	make_stream(m, "short");
	assert_errno(rename(mp(m, "short"), mp(m, "%s", name)), ENAMETOOLONG);
	mnt_restart(m, NULL);
	name[255] = '\0';
	assert_no_records(m, name);
	must(rmdir(mp(m, "%s", name)));
}

static void removed_and_made_again(void **state)
{
	struct mnt *m = *state;
	struct stat before, after;

	assert_errno(rmdir(mp(m, "s")), ENOENT);
	make_stream(m, "s");
	must(stat(mp(m, "s"), &before));
	append(m, "s", "a");
	assert_errno(rmdir(mp(m, "s")), ENOTEMPTY);
	assert_texts(m, "s", "a");
	must(unlink(mp(m, "s/1")));
	must(rmdir(mp(m, "s")));
	assert_errno(open(mp(m, "s/append"), O_WRONLY), ENOENT);
	make_stream(m, "s");
	must(stat(mp(m, "s"), &after));
	assert_int_not_equal(before.st_ino, after.st_ino);
	append(m, "s", "b");
	assert_texts(m, "s", "b");
	mnt_restart(m, NULL);
	assert_texts(m, "s", "b");
}

static void rename_moves_all(void **state)
{
	struct mnt *m = *state;
	struct stat before, after;
	int fd, old, dir;

	make_stream(m, "a");
	append(m, "a", "1");
	must(stat(mp(m, "a"), &before));
	fd = (int)must(open(mp(m, "a/append"), O_WRONLY | O_APPEND));
	old = (int)must(open(mp(m, "a/1"), O_RDONLY));
	dir = (int)must(open(mp(m, "a"), O_RDONLY | O_DIRECTORY));
	write_all(fd, "be", 2);
	must(rename(mp(m, "a"), mp(m, "b:new name")));
	assert_absent(mp(m, "a"));
	write_all(fd, "fore", 4);
	must(close(fd));
	assert_texts(m, "b:new name", "1", "before");
	assert_int_equal(must(pread(old, (char[4]){ 0 }, 4, 0)), 1);
	must(close(old));
	must(faccessat(dir, "2", R_OK, 0));
	must(close(dir));
	must(stat(mp(m, "b:new name"), &after));
	assert_int_equal(before.st_ino, after.st_ino);
	/* The old name is free, and nothing of the old stream is in it. */
	make_stream(m, "a");
	append(m, "a", "other");
	mnt_restart(m, NULL);
	assert_texts(m, "a", "other");
	assert_texts(m, "b:new name", "1", "before");
}

static void rename_refused(void **state)
{
	struct mnt *m = *state;

	make_stream(m, "a");
	make_stream(m, "b");
	append(m, "a", "a1");
	append(m, "b", "b1");
	assert_int_equal(rename(mp(m, "a"), mp(m, "b")), -1);
	assert_true(errno == EEXIST || errno == ENOTEMPTY);
	assert_errno(renameat2(AT_FDCWD, mp(m, "a"), AT_FDCWD, mp(m, "b"), RENAME_NOREPLACE), EEXIST);
	assert_errno(rename(mp(m, "nothing"), mp(m, "c")), ENOENT);
	assert_errno(rename(mp(m, "a"), mp(m, "b/a")), EPERM);
	assert_errno(rename(mp(m, "a/1"), mp(m, "b/1")), EPERM);
	assert_errno(rename(mp(m, "a/1"), mp(m, "b/2")), EPERM);
	assert_errno(rename(mp(m, "a/1"), mp(m, "1")), EPERM);
	assert_errno(rename(mp(m, "a/1"), mp(m, "a/2")), EPERM);
	assert_errno(rename(mp(m, "a/1"), mp(m, "a/append")), EPERM);
	assert_errno(rename(mp(m, "a/append"), mp(m, "a/x")), EPERM);
	assert_errno(rename(mp(m, ".walfs"), mp(m, "c")), EPERM);
	assert_errno(rename(mp(m, "a"), mp(m, ".walfs/a")), EPERM);
	must(rename(mp(m, "a"), mp(m, "a")));
	assert_texts(m, "a", "a1");
	assert_texts(m, "b", "b1");
}

static void creating_is_refused(void **state)
{
	static const char *const names[] = { "x",  "1x",    "0",     "-1",      "+1",    "append2",
					     ".x", "x.hdr", "1.txt", "append~", "Append" };
	struct mnt *m = *state;
	size_t n, now;

	make_stream(m, "s");
	append(m, "s", "a");
	names_free(names_of(mp(m, "s"), &n));
	for (unsigned i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *path = mp(m, "s/%s", names[i]);

		if (open(path, O_WRONLY | O_CREAT, 0666) != -1 || errno != EPERM)
			fail_msg("create %s: %s, not EPERM", names[i], strerror(errno));
		assert_errno(open(path, O_RDONLY), ENOENT);
		assert_errno(mkdir(path, 0755), EPERM);
		assert_errno(symlink("1", path), EPERM);
		assert_errno(mknod(path, S_IFIFO | 0666, 0), EPERM);
		assert_errno(mknod(path, S_IFREG | 0666, 0), EPERM);
		assert_errno(link(mp(m, "s/1"), path), EPERM);
	}
	assert_errno(link(mp(m, "s/append"), mp(m, "s/x")), EPERM);
	assert_errno(open(mp(m, "x"), O_WRONLY | O_CREAT, 0666), EPERM);
	assert_errno(symlink("s", mp(m, "x")), EPERM);
	assert_errno(mknod(mp(m, "x"), S_IFIFO | 0666, 0), EPERM);
	assert_errno(mkdir(mp(m, "s/append"), 0755), EEXIST);
	assert_errno(mkdir(mp(m, ".walfs"), 0755), EEXIST);
	assert_errno(mkdir(mp(m, ".walfs/x"), 0755), EPERM);
	assert_errno(open(mp(m, ".walfs/x"), O_WRONLY | O_CREAT, 0666), EPERM);
	assert_errno(rmdir(mp(m, ".walfs")), EPERM);
	assert_errno(rmdir(mp(m, "s/1")), ENOTDIR);
	names_free(names_of(mp(m, "s"), &now));
	assert_int_equal(n, now);
}

static void records_are_immutable(void **state)
{
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 2 } };
	struct mnt *m = *state;
	struct stat before, after;

	make_stream(m, "s");
	append(m, "s", "first");
	append(m, "s", "second");
	must(stat(mp(m, "s/1"), &before));
	for (int i = 0; i < 2; i++) {
		static const char *const spelling[] = { "s/1", "s/0000000001" };
		const char *path = mp(m, "%s", spelling[i]);

		assert_errno(open(path, O_WRONLY), EPERM);
		assert_errno(open(path, O_RDWR), EPERM);
		assert_errno(open(path, O_WRONLY | O_APPEND), EPERM);
		assert_errno(open(path, O_WRONLY | O_TRUNC), EPERM);
		assert_errno(open(path, O_RDONLY | O_TRUNC), EPERM);
		assert_errno(open(path, O_WRONLY | O_CREAT, 0666), EPERM);
		assert_errno(open(path, O_WRONLY | O_CREAT | O_EXCL, 0666), EEXIST);
		assert_errno(truncate(path, 0), EPERM);
		assert_errno(truncate(path, 100), EPERM);
		assert_errno(utimensat(AT_FDCWD, path, times, 0), EPERM);
	}
	assert_int_not_equal(sh(m, "echo x > s/1 2>/dev/null"), 0);
	must(stat(mp(m, "s/1"), &after));
	assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
	assert_texts(m, "s", "first", "second");
}

static void assert_attr(const struct mnt *m, const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct stat st;

	must(lstat(mp(m, "%s", path), &st));
	if ((st.st_mode & 07777) != mode || st.st_uid != uid || st.st_gid != gid)
		fail_msg("%s: mode %o, owner %u:%u; not %o, %u:%u", path, st.st_mode & 07777, st.st_uid, st.st_gid,
			 mode, uid, gid);
}

static void assert_modes(const struct mnt *m, mode_t mode, uid_t uid, gid_t gid)
{
	assert_attr(m, "s", mode, uid, gid);
	assert_attr(m, "s/1", mode & 0444, uid, gid);
	assert_attr(m, "s/1.hdr", mode & 0444, uid, gid);
	assert_attr(m, "s/append", mode & 0666, uid, gid);
	assert_attr(m, "s/append.hdr", mode & 0666, uid, gid);
	assert_attr(m, "s/.config", mode & 0644, uid, gid);
	assert_attr(m, "s/.stat", mode & 0444, uid, gid);
}

static void owner_and_mode(void **state)
{
	struct mnt *m = *state;
	mode_t mask = umask(022);

	must(mkdir(mp(m, "s"), 0777));
	(void)umask(mask);
	assert_attr(m, "s", 0755, geteuid(), getegid());
	put(mp(m, "s/append.hdr"), O_WRONLY | O_TRUNC, BYTES("h"));
	append(m, "s", "a");
	assert_modes(m, 0755, geteuid(), getegid());
	must(chmod(mp(m, "s"), 0750));
	assert_modes(m, 0750, geteuid(), getegid());
	must(chmod(mp(m, "s"), 01777));
	assert_modes(m, 01777, geteuid(), getegid());
	if (geteuid() == 0) {
		must(chown(mp(m, "s"), 1234, 5678));
		must(chown(mp(m, "s"), (uid_t)-1, 4321));
		must(chmod(mp(m, "s"), 0710));
		assert_modes(m, 0710, 1234, 4321);
	}
	mnt_restart(m, NULL);
	if (geteuid() == 0)
		assert_modes(m, 0710, 1234, 4321);
	assert_texts(m, "s", "a");
}

/* What must be the owner's: in a directory that anybody may write to. */
static int as_user(struct mnt *m, uid_t uid, const char *script)
{
	struct run r = {
		.argv = (const char *const[]){ "sh", "-c", script, NULL }, .dir = m->at, .uid = uid, .gid = uid
	};
	int code;

	run_cmd(&r);
	code = r.code;
	run_free(&r);
	return code;
}

static void owners_and_others(void **state)
{
	struct mnt *m = *state;

	if (geteuid() != 0)
		skip_because("only root can act for other users");
	mnt_start(m, "allow_other");
	make_stream(m, "s");
	must(chmod(mp(m, "s"), 0777));
	must(chown(mp(m, "s"), 1001, 1001));
	assert_int_equal(as_user(m, 1002, "echo a >> s/append && echo b >> s/append && echo c >> s/append"), 0);
	assert_int_equal(as_user(m, 1002, "test \"$(cat s/1)\" = a"), 0);
	assert_int_not_equal(as_user(m, 1002, "rm -f s/1"), 0);
	assert_int_not_equal(as_user(m, 1002, "chmod 700 s"), 0);
	assert_int_not_equal(as_user(m, 1002, "mv s t"), 0);
	assert_int_not_equal(as_user(m, 1002, "rm -rf s"), 0);
	assert_int_not_equal(as_user(m, 1002, "echo durable=no > s/.config"), 0);
	assert_int_not_equal(as_user(m, 1002, "echo durable=no > .walfs/config"), 0);
	assert_int_not_equal(as_user(m, 1002, "echo 1 > .walfs/sync"), 0);
	assert_texts(m, "s", "a\n", "b\n", "c\n");
	assert_int_equal(as_user(m, 1001, "echo durable=no > s/.config"), 0);
	assert_int_equal(as_user(m, 1001, "rm -f s/1"), 0);
	assert_int_equal(first_seq(m, "s"), 2);
	/* One may append and not read, another read and not append. */
	must(chmod(mp(m, "s"), 0751));
	assert_int_not_equal(as_user(m, 1002, "echo d >> s/append"), 0);
	assert_int_not_equal(as_user(m, 1002, "cat s/2"), 0);
	must(chmod(mp(m, "s"), 0755));
	assert_int_not_equal(as_user(m, 1002, "echo d >> s/append"), 0);
	assert_int_equal(as_user(m, 1002, "test \"$(cat s/2)\" = b"), 0);
	assert_int_equal(as_user(m, 1001, "echo d >> s/append && chmod 700 s"), 0);
	assert_int_not_equal(as_user(m, 1002, "ls s"), 0);
	assert_int_equal(last_seq(m, "s"), 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(canonical),           MNT_TEST(not_canonical),
		MNT_TEST(long_names),          MNT_TEST(removed_and_made_again),
		MNT_TEST(rename_moves_all),    MNT_TEST(rename_refused),
		MNT_TEST(creating_is_refused), MNT_TEST(records_are_immutable),
		MNT_TEST(owner_and_mode),      MNT_TEST_BARE(owners_and_others),
	};

	return mnt_main("names", tests, sizeof(tests) / sizeof(*tests));
}
