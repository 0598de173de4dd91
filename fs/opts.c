/* SPDX-License-Identifier: MIT
 *
 * mount(8) and fstab hand over a mixture: our options, those of every mount (rw, nosuid), and those that are notes to
 * other programs (nofail, x-systemd.*). The table sorts them: ours are parsed here, the kernel's go on to libfuse,
 * notes are dropped, and an option that nobody knows is an error rather than a wish that is quietly not granted.
 */
#include "opts.h"

#include "node.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <walcore/walcore.h>

#define DIGITS_DEFAULT 10
#define UMASK_MAX 0777

enum {
	KEY_DURABLE,
	KEY_RELAXED,
	KEY_INTERVAL,
	KEY_DIGITS,
	KEY_MAX_RECORD,
	KEY_USER_PENDING,
	KEY_USER_FILES,
	KEY_RO,
	KEY_APPEND_ONLY,
	KEY_UID,
	KEY_GID,
	KEY_UMASK,
	KEY_FSNAME,
	KEY_SYNC,
	KEY_IGNORE,
	KEY_FOREGROUND,
	KEY_DEBUG,
	KEY_HELP,
	KEY_VERSION,
};

static const struct fuse_opt table[] = {
	FUSE_OPT_KEY("durable", KEY_DURABLE),
	FUSE_OPT_KEY("relaxed", KEY_RELAXED),
	FUSE_OPT_KEY("interval=", KEY_INTERVAL),
	FUSE_OPT_KEY("digits=", KEY_DIGITS),
	FUSE_OPT_KEY("max_record=", KEY_MAX_RECORD),
	FUSE_OPT_KEY("user_pending=", KEY_USER_PENDING),
	FUSE_OPT_KEY("user_files=", KEY_USER_FILES),
	FUSE_OPT_KEY("ro", KEY_RO),
	FUSE_OPT_KEY("append_only", KEY_APPEND_ONLY),
	FUSE_OPT_KEY("uid=", KEY_UID),
	FUSE_OPT_KEY("gid=", KEY_GID),
	FUSE_OPT_KEY("umask=", KEY_UMASK),
	FUSE_OPT_KEY("fsname=", KEY_FSNAME),
	FUSE_OPT_KEY("sync", KEY_SYNC),

	/* To libfuse and the kernel. */
	FUSE_OPT_KEY("allow_other", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("allow_root", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("auto_unmount", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("max_read=", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("rw", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("suid", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("nosuid", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("dev", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("nodev", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("exec", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("noexec", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("async", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("atime", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("noatime", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("nodiratime", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("context=", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("fscontext=", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("defcontext=", FUSE_OPT_KEY_KEEP),
	FUSE_OPT_KEY("rootcontext=", FUSE_OPT_KEY_KEEP),

	/* Always so, or for others to read. */
	FUSE_OPT_KEY("default_permissions", KEY_IGNORE),
	FUSE_OPT_KEY("subtype=", KEY_IGNORE),
	FUSE_OPT_KEY("defaults", KEY_IGNORE),
	FUSE_OPT_KEY("dirsync", KEY_IGNORE),
	FUSE_OPT_KEY("relatime", KEY_IGNORE),
	FUSE_OPT_KEY("norelatime", KEY_IGNORE),
	FUSE_OPT_KEY("strictatime", KEY_IGNORE),
	FUSE_OPT_KEY("lazytime", KEY_IGNORE),
	FUSE_OPT_KEY("nolazytime", KEY_IGNORE),
	FUSE_OPT_KEY("diratime", KEY_IGNORE),
	FUSE_OPT_KEY("auto", KEY_IGNORE),
	FUSE_OPT_KEY("noauto", KEY_IGNORE),
	FUSE_OPT_KEY("user", KEY_IGNORE),
	FUSE_OPT_KEY("user=", KEY_IGNORE),
	FUSE_OPT_KEY("users", KEY_IGNORE),
	FUSE_OPT_KEY("nouser", KEY_IGNORE),
	FUSE_OPT_KEY("owner", KEY_IGNORE),
	FUSE_OPT_KEY("group", KEY_IGNORE),
	FUSE_OPT_KEY("_netdev", KEY_IGNORE),
	FUSE_OPT_KEY("nofail", KEY_IGNORE),
	FUSE_OPT_KEY("comment=", KEY_IGNORE),

	FUSE_OPT_KEY("-f", KEY_FOREGROUND),
	FUSE_OPT_KEY("-d", KEY_DEBUG),
	FUSE_OPT_KEY("debug", KEY_DEBUG),
	FUSE_OPT_KEY("-h", KEY_HELP),
	FUSE_OPT_KEY("--help", KEY_HELP),
	FUSE_OPT_KEY("-V", KEY_VERSION),
	FUSE_OPT_KEY("--version", KEY_VERSION),
	FUSE_OPT_END,
};

const char walfs_opts_help[] =
	"usage: walfs STORE MOUNTPOINT [-f] [-d] [-o OPTION[,OPTION...]]\n"
	"\n"
	"Mounts the store in the directory STORE at MOUNTPOINT. An empty or missing STORE is made one.\n"
	"\n"
	"  -f               stay in the foreground, log to stderr\n"
	"  -d               debug: as -f, and show every request\n"
	"  --help           this text\n"
	"  --version        the version\n"
	"\n"
	"  -o durable       a record is on disk before close(2) returns (default)\n"
	"  -o relaxed       a record is in the page cache then, and on disk a second later\n"
	"  -o interval=TIME the longest that a relaxed record waits for the disk: 1s, 100ms\n"
	"  -o digits=N      list records with N digits, 0 to 20; 0 is plain (default: 10)\n"
	"  -o max_record=SIZE  the largest content of a record: 64K, 1G (default: 1G)\n"
	"  -o user_pending=SIZE  what one user can have written and not committed (default: 4G)\n"
	"  -o user_files=N  how many files one user can have open (default: 16384)\n"
	"  -o ro            read only; works on a store in use\n"
	"  -o append_only   refuse rm, rmdir, rename, chmod and chown\n"
	"  -o uid=N,gid=N   show this owner\n"
	"  -o umask=M       show no mode bits of this octal mask\n"
	"  -o allow_other   let other users in, by owner and mode; also allow_root, and the usual nosuid,\n"
	"                   nodev, noexec, noatime, fsname=, auto_unmount, max_read=, context=\n"
	"\n"
	"Exit status: 0, 1 (could not mount), 2 (wrong usage). See walfs(1).\n";

__attribute__((format(printf, 2, 3))) static int problem(struct walfs_opts *opts, const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	vsnprintf(opts->problem, sizeof(opts->problem), format, ap);
	va_end(ap);
	return -1;
}

/* Sizes and durations have the engine's spelling: its parser reads them. */
static int parse_setting(struct walfs_opts *opts, const char *key, const char *arg, const char *value,
			 struct wal_settings *ret_settings)
{
	char line[128];
	struct wal_settings settings = { 0 };
	int n = snprintf(line, sizeof(line), "%s=%s\n", key, value);
	if (n < 0 || (size_t)n >= sizeof(line) || strchr(value, '\n') ||
	    wal_settings_parse(&settings, line, (size_t)n, NULL) < 0)
		return problem(opts, "bad value in option '%s'", arg);
	*ret_settings = settings;
	return 0;
}

static int parse_number(struct walfs_opts *opts, const char *arg, const char *value, int base, uint32_t max,
			uint32_t *ret_number)
{
	char *end;
	errno = 0;
	unsigned long number = strtoul(value, &end, base);
	if (value[0] < '0' || value[0] > '9' || *end != '\0' || errno != 0 || number > max)
		return problem(opts, "bad value in option '%s'", arg);
	*ret_number = (uint32_t)number;
	return 0;
}

static int parse_value(struct walfs_opts *opts, const char *arg, int key)
{
	const char *value = strchr(arg, '=') + 1;
	struct wal_settings settings = { .max_record = 0 };
	switch (key) {
	case KEY_INTERVAL:
		if (parse_setting(opts, "retention.age", arg, value, &settings) < 0)
			return -1;
		if (settings.retention_age_ns == 0 || settings.retention_age_ns == WAL_FOREVER)
			return problem(opts, "bad value in option '%s'", arg);
		opts->interval_ns = settings.retention_age_ns;
		return 0;
	case KEY_MAX_RECORD:
		if (parse_setting(opts, "max_record", arg, value, &settings) < 0)
			return -1;
		opts->max_record = settings.max_record;
		return 0;
	case KEY_USER_PENDING:
		if (parse_setting(opts, "retention.bytes", arg, value, &settings) < 0)
			return -1;
		if (settings.retention_bytes == 0)
			return problem(opts, "bad value in option '%s'", arg);
		opts->user_pending = settings.retention_bytes;
		return 0;
	case KEY_USER_FILES:
		if (parse_number(opts, arg, value, 10, UINT32_MAX, &opts->user_files) < 0)
			return -1;
		return opts->user_files > 0 ? 0 : problem(opts, "bad value in option '%s'", arg);
	case KEY_DIGITS:
		return parse_number(opts, arg, value, 10, WALFS_DIGITS_MAX, &opts->digits);
	case KEY_UID:
		return parse_number(opts, arg, value, 10, WALFS_ID_UNSET - 1, &opts->uid);
	case KEY_GID:
		return parse_number(opts, arg, value, 10, WALFS_ID_UNSET - 1, &opts->gid);
	case KEY_UMASK:
		opts->has_umask = true;
		return parse_number(opts, arg, value, 8, UMASK_MAX, &opts->umask);
	default: /* KEY_FSNAME */
		free(opts->fsname);
		opts->fsname = strdup(value);
		return opts->fsname ? 0 : problem(opts, "out of memory");
	}
}

static int parse_flag(struct walfs_opts *opts, int key)
{
	switch (key) {
	case KEY_DURABLE:
		opts->relaxed = false;
		return 0;
	case KEY_RELAXED:
		opts->relaxed = true;
		return 0;
	case KEY_RO:
		opts->read_only = true;
		return 1; /* the kernel refuses writes before they come here */
	case KEY_APPEND_ONLY:
		opts->append_only = true;
		return 0;
	case KEY_SYNC:
		return problem(opts, "option 'sync' would make every write a record; records are durable by default");
	case KEY_FOREGROUND:
		opts->foreground = true;
		return 0;
	case KEY_DEBUG:
		opts->foreground = opts->debug = true;
		return 1;
	case KEY_HELP:
		opts->help = true;
		return 0;
	case KEY_VERSION:
		opts->version = true;
		return 0;
	default: /* KEY_IGNORE */
		return 0;
	}
}

static int parse_place(struct walfs_opts *opts, const char *arg)
{
	char **place = !opts->store ? &opts->store : !opts->mountpoint ? &opts->mountpoint : NULL;
	if (!place)
		return problem(opts, "one argument too many: '%s'", arg);
	*place = strdup(arg);
	return *place ? 0 : problem(opts, "out of memory");
}

/* Called by fuse_opt_parse: -1 is an error, 0 drops the argument, 1 keeps it for libfuse. */
static int parse_one(void *data, const char *arg, int key, struct fuse_args *outargs)
{
	struct walfs_opts *opts = data;
	(void)outargs;
	switch (key) {
	case FUSE_OPT_KEY_NONOPT:
		return parse_place(opts, arg);
	case FUSE_OPT_KEY_OPT:
		if (strncmp(arg, "x-", 2) == 0)
			return 0;
		return problem(opts, "unknown option '%s'", arg);
	case KEY_INTERVAL:
	case KEY_DIGITS:
	case KEY_MAX_RECORD:
	case KEY_USER_PENDING:
	case KEY_USER_FILES:
	case KEY_UID:
	case KEY_GID:
	case KEY_UMASK:
	case KEY_FSNAME:
		return parse_value(opts, arg, key);
	default:
		return parse_flag(opts, key);
	}
}

int walfs_opts_parse(struct walfs_opts *opts, int argc, char **argv)
{
	*opts = (struct walfs_opts){ .digits = DIGITS_DEFAULT, .uid = WALFS_ID_UNSET, .gid = WALFS_ID_UNSET };
	opts->kernel = (struct fuse_args)FUSE_ARGS_INIT(argc, argv);
	if (fuse_opt_parse(&opts->kernel, opts, table, parse_one) < 0) {
		if (opts->problem[0] == '\0')
			(void)problem(opts, "bad options");
		return -EINVAL;
	}
	if (opts->help || opts->version)
		return 0;
	if (!opts->store || !opts->mountpoint || opts->store[0] == '\0' || opts->mountpoint[0] == '\0') {
		(void)problem(opts, "%s", opts->store ? "no mount point given" : "no store given");
		return -EINVAL;
	}
	return 0;
}

void walfs_opts_fini(struct walfs_opts *opts)
{
	free(opts->store);
	free(opts->mountpoint);
	free(opts->fsname);
	fuse_opt_free_args(&opts->kernel);
	*opts = (struct walfs_opts){ 0 };
}
