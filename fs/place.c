/* SPDX-License-Identifier: MIT
 *
 * A store need not exist yet: then its parent is resolved and the last name put behind it. A mount whose daemon was killed
 * answers ENOTCONN to everything, and a new mount over it fails; it is detached first.
 */
#include "place.h"

#include <errno.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_URL "file:"

extern char **environ;

static void detach_as_user(const char *mountpoint)
{
	const char *argv[] = { "fusermount3", "-u", "-z", "--", mountpoint, NULL };
	pid_t pid;
	int status;
	if (posix_spawnp(&pid, argv[0], NULL, NULL, (char *const *)argv, environ) != 0)
		return;
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
}

/* Several dead mounts may lie over each other. A stat may be answered from the kernel's cache for a second after the
 * daemon's death; a statfs is not. */
static int clear_dead(const char *mountpoint)
{
	struct statvfs st;
	for (int i = 0; i < 8; i++) {
		if (statvfs(mountpoint, &st) == 0 || (errno != ENOTCONN && errno != ECONNABORTED))
			return 0;
		if (umount2(mountpoint, MNT_DETACH) < 0)
			detach_as_user(mountpoint);
	}
	return -ENOTCONN;
}

static int find_mountpoint(struct walfs_place *place, const char *mountpoint, char *problem, size_t size)
{
	struct stat st;
	if (clear_dead(mountpoint) < 0) {
		snprintf(problem, size, "%s: the mount there is dead and cannot be removed", mountpoint);
		return -ENOTCONN;
	}
	place->mountpoint = realpath(mountpoint, NULL);
	if (!place->mountpoint || stat(place->mountpoint, &st) < 0) {
		int err = -errno;
		snprintf(problem, size, "mount point %s: %s", mountpoint, strerror(-err));
		return err;
	}
	if (!S_ISDIR(st.st_mode)) {
		snprintf(problem, size, "mount point %s: %s", mountpoint, strerror(ENOTDIR));
		return -ENOTDIR;
	}
	return 0;
}

static int join(const char *dir, const char *base, char **ret_path)
{
	const char *slash = dir[strlen(dir) - 1] == '/' ? "" : "/";
	return asprintf(ret_path, "%s%s%s", dir, slash, base) < 0 ? -ENOMEM : 0;
}

/* The path of something that may not be there yet. */
static int resolve(const char *path, char **ret_path)
{
	char *whole = realpath(path, NULL);
	if (whole) {
		*ret_path = whole;
		return 0;
	}
	if (errno != ENOENT)
		return -errno;
	char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	size_t len = strlen(copy);
	while (len > 1 && copy[len - 1] == '/')
		copy[--len] = '\0';
	char *slash = strrchr(copy, '/');
	const char *base = slash ? slash + 1 : copy;
	int err;
	char *parent;
	if (strcmp(base, ".") == 0 || strcmp(base, "..") == 0 || base[0] == '\0') {
		err = -ENOENT;
	} else {
		if (slash)
			*slash = '\0';
		parent = realpath(!slash ? "." : copy[0] ? copy : "/", NULL);
		err = parent ? join(parent, base, ret_path) : -errno;
		free(parent);
	}
	free(copy);
	return err;
}

static bool lies_in(const char *path, const char *dir)
{
	size_t len = strlen(dir);
	if (strcmp(dir, "/") == 0)
		return true;
	return strncmp(path, dir, len) == 0 && (path[len] == '\0' || path[len] == '/');
}

/* nats://... and the like. */
static bool is_other_url(const char *store)
{
	const char *colon = strstr(store, "://");
	return colon && colon != store && strcspn(store, "/") > (size_t)(colon - store);
}

int walfs_place_find(struct walfs_place *place, const char *store, const char *mountpoint, char *problem, size_t size)
{
	*place = (struct walfs_place){ 0 };
	int err = find_mountpoint(place, mountpoint, problem, size);
	if (err < 0)
		return err;
	if (is_other_url(store)) {
		place->store = strdup(store);
		return place->store ? 0 : -ENOMEM;
	}
	const char *path = strncmp(store, FILE_URL, strlen(FILE_URL)) == 0 ? store + strlen(FILE_URL) : store;
	err = resolve(path, &place->store);
	if (err < 0) {
		snprintf(problem, size, "store %s: %s", path, strerror(-err));
		return err;
	}
	if (lies_in(place->store, place->mountpoint)) {
		snprintf(problem, size, "store %s lies under its own mount point %s", place->store, place->mountpoint);
		return -EINVAL;
	}
	if (lies_in(place->mountpoint, place->store)) {
		snprintf(problem, size, "mount point %s lies in the store %s", place->mountpoint, place->store);
		return -EINVAL;
	}
	return 0;
}

void walfs_place_fini(struct walfs_place *place)
{
	free(place->store);
	free(place->mountpoint);
	*place = (struct walfs_place){ 0 };
}
