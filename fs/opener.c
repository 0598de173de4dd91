/* SPDX-License-Identifier: MIT
 *
 * The kernel gives thread ids, and in WRITE and FLUSH a lock owner, which all threads of a process share and a forked
 * child does not. The process of a thread is found with tgkill(process, thread, 0), which sends nothing and fails with
 * ESRCH unless the thread is of the process.
 *
 * /proc/PID/stat and /proc/PID/fd are read with plain reads and readlinks: neither touches the files that the descriptors
 * are open on. By the time of a FLUSH the descriptor that is being closed is no longer in the list, and an exiting process
 * has none at all.
 */
#include "opener.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PF_EXITING 0x4u /* include/linux/sched.h; part of the ABI as field 9 of /proc/PID/stat */
#define HEIRS_MAX 16
#define FDS_MAX 4096
#define FIELD_FLAGS 9
#define FIELD_EXIT_CODE 52
#define FIELD_AFTER_NAME 3

static bool is_thread_of(pid_t tgid, pid_t tid)
{
	return syscall(SYS_tgkill, tgid, tid, 0) == 0 || errno == EPERM;
}

/* Reads a small file whole. Returns its length or a negative error. */
static ssize_t read_small(int dir, const char *path, char *buf, size_t size)
{
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ssize_t n = read(fd, buf, size - 1);
	if (n < 0)
		n = -errno;
	else
		buf[n] = '\0';
	close(fd);
	return n;
}

bool walfs_opener_sees_processes(void)
{
	char link[32];
	ssize_t n = readlink("/proc/self", link, sizeof(link) - 1);
	if (n <= 0)
		return false;
	link[n] = '\0';
	return strtol(link, NULL, 10) == (long)getpid();
}

void walfs_opener_init(struct walfs_opener *opener, pid_t pid)
{
	char path[64], status[1024];
	*opener = (struct walfs_opener){ 0 };
	if (pid == 0)
		return;
	opener->tgid = pid;
	if (is_thread_of(pid, pid))
		return;
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if (read_small(AT_FDCWD, path, status, sizeof(status)) < 0)
		return; /* the thread is the best guess then */
	const char *line = strstr(status, "\nTgid:");
	if (line) {
		long tgid = strtol(line + strlen("\nTgid:"), NULL, 10);
		if (tgid > 0)
			opener->tgid = (pid_t)tgid;
	}
}

static bool is_opener(struct walfs_opener *opener, pid_t pid, uint64_t owner)
{
	if (opener->has_owner && owner == opener->owner)
		return true;
	if (opener->tgid == 0 || pid == 0)
		return false;
	if (pid != opener->tgid && !is_thread_of(opener->tgid, pid))
		return false;
	opener->owner = owner;
	opener->has_owner = true;
	return true;
}

bool walfs_opener_closes(struct walfs_opener *opener, pid_t pid, uint64_t owner)
{
	return is_opener(opener, pid, owner);
}

struct process_stat {
	char state;
	unsigned long flags, exit_code;
};

static int read_stat(pid_t pid, struct process_stat *ret_stat)
{
	char path[64], text[1024];
	if (pid == 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	ssize_t n = read_small(AT_FDCWD, path, text, sizeof(text));
	if (n < 0)
		return (int)n;

	/* The name is in parentheses and may hold anything; the last ')' ends it. */
	char *at = strrchr(text, ')');
	if (!at || at[1] != ' ')
		return -EINVAL;
	at += 2;
	*ret_stat = (struct process_stat){ .state = *at };
	for (int field = FIELD_AFTER_NAME; at && field <= FIELD_EXIT_CODE; field++) {
		if (field == FIELD_FLAGS)
			ret_stat->flags = strtoul(at, NULL, 10);
		else if (field == FIELD_EXIT_CODE)
			ret_stat->exit_code = strtoul(at, NULL, 10);
		at = strchr(at, ' ');
		if (at)
			at++;
	}
	return 0;
}

enum walfs_fate walfs_process_fate(pid_t pid)
{
	struct process_stat stat;
	if (read_stat(pid, &stat) < 0)
		return WALFS_FATE_UNKNOWN;
	if (stat.exit_code & 0x7f)
		return WALFS_FATE_KILLED;
	return stat.flags & PF_EXITING ? WALFS_FATE_EXITING : WALFS_FATE_RUNNING;
}

static bool is_gone(pid_t pid)
{
	struct process_stat stat;
	int err = read_stat(pid, &stat);
	return err == -ENOENT || err == -ESRCH || (err == 0 && (stat.state == 'Z' || stat.state == 'X'));
}

/* A number in a line of fdinfo. False where the kernel does not tell it. */
static bool info_number(const char *info, const char *key, uint64_t *ret_number)
{
	const char *line = strstr(info, key);
	if (!line)
		return false;
	*ret_number = strtoull(line + strlen(key), NULL, 10);
	return true;
}

static bool is_sought(int dir, const char *name, const struct walfs_sought *sought)
{
	char link[4096], path[64], info[1024] = "\n";
	uint64_t number;
	ssize_t n = readlinkat(dir, name, link, sizeof(link) - 1);
	if (n <= 0)
		return false;
	link[n] = '\0';
	const char *base = strrchr(link, '/');
	if (!base || !(strncmp(base + 1, "append", strlen("append")) == 0 || (base[1] >= '0' && base[1] <= '9')))
		return false;

	snprintf(path, sizeof(path), "../fdinfo/%.20s", name);
	if (read_small(dir, path, info + 1, sizeof(info) - 1) < 0)
		return false;
	/* Kernels before 5.14 do not tell the inode: the name is all there is to go by. */
	if (info_number(info, "\nino:", &number) && number != sought->ino)
		return false;
	return !sought->pos || !info_number(info, "\npos:", &number) || number == *sought->pos;
}

int walfs_process_holds(pid_t pid, const struct walfs_sought *sought)
{
	char path[64];
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *dir = opendir(path);
	if (!dir)
		return -errno;

	unsigned looked = 0, found = 0;
	struct dirent *entry;
	while (found <= sought->others && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (sought->look_max && looked++ == sought->look_max) {
			closedir(dir);
			return -EAGAIN;
		}
		found += is_sought(dirfd(dir), entry->d_name, sought);
	}
	closedir(dir);
	return found > sought->others;
}

/* Adds the children of one thread to the list. */
static int add_children(int tasks, const char *tid, pid_t *heirs, unsigned *n)
{
	char path[64], text[1024] = "";
	snprintf(path, sizeof(path), "%.20s/children", tid);
	ssize_t len = read_small(tasks, path, text, sizeof(text));
	if (len == -ENOENT && faccessat(tasks, tid, F_OK, 0) < 0)
		return 0; /* the thread has ended */
	if (len < 0)
		return (int)len;
	if ((size_t)len == sizeof(text) - 1)
		return -E2BIG;
	for (char *at = text, *end; *at; at = end) {
		long pid = strtol(at, &end, 10);
		if (end == at)
			break;
		if (*n == HEIRS_MAX)
			return -E2BIG;
		heirs[(*n)++] = (pid_t)pid;
	}
	return 0;
}

static int add_heirs(pid_t pid, pid_t *heirs, unsigned *n)
{
	char path[64];
	struct dirent *entry;
	int err = 0;
	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *dir = opendir(path);
	if (!dir)
		return is_gone(pid) ? 0 : -errno;
	while (err == 0 && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			err = add_children(dirfd(dir), entry->d_name, heirs, n);
	closedir(dir);
	return err;
}

static int heirs_hold(pid_t pid, uint64_t ino)
{
	struct walfs_sought sought = { .ino = ino, .look_max = FDS_MAX };
	pid_t heirs[HEIRS_MAX];
	unsigned n = 0;
	int err = add_heirs(pid, heirs, &n);
	for (unsigned i = 0; err == 0 && i < n; i++) {
		int held = walfs_process_holds(heirs[i], &sought);
		if (held < 0 && is_gone(heirs[i]))
			held = 0;
		if (held != 0)
			return held;
		err = add_heirs(heirs[i], heirs, &n);
	}
	return err;
}

/* ---- writers ----------------------------------------------------------------------------------------- */

static void note_other(struct walfs_opener *opener, pid_t pid)
{
	for (unsigned i = 0; i < opener->n_writers && i < WALFS_WRITERS_MAX; i++)
		if (opener->writers[i] == pid)
			return;
	if (opener->n_writers == WALFS_WRITERS_MAX) {
		opener->n_writers = 0;
		for (unsigned i = 0; i < WALFS_WRITERS_MAX; i++)
			if (!is_gone(opener->writers[i]))
				opener->writers[opener->n_writers++] = opener->writers[i];
	}
	if (pid != 0 && opener->n_writers < WALFS_WRITERS_MAX)
		opener->writers[opener->n_writers++] = pid;
	else
		opener->n_writers = WALFS_WRITERS_MAX + 1;
}

void walfs_opener_note_write(struct walfs_opener *opener, pid_t pid, uint64_t owner)
{
	if (opener->tgid == 0 && !opener->has_owner) {
		opener->owner = owner;
		opener->has_owner = true;
	}
	if (is_opener(opener, pid, owner))
		opener->wrote = true;
	else
		note_other(opener, pid);
}

void walfs_opener_forget_writes(struct walfs_opener *opener)
{
	opener->wrote = false;
	opener->n_writers = 0;
}

bool walfs_opener_others_hold(const struct walfs_opener *opener, pid_t pid, uint64_t ino)
{
	struct walfs_sought sought = { .ino = ino };
	if (opener->n_writers > WALFS_WRITERS_MAX)
		return true;
	for (unsigned i = 0; i < opener->n_writers; i++)
		if (!is_gone(opener->writers[i]) && walfs_process_holds(opener->writers[i], &sought) != 0)
			return true;
	return heirs_hold(pid, ino) != 0;
}
