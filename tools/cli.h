/* SPDX-License-Identifier: MIT
 *
 * cli: what the commands of walctl share: messages, exit status, and opening what the arguments name.
 *
 * Messages go to stderr, one line each, "walctl COMMAND: what: why"; stdout carries results alone.
 * Threads: one.
 */
#ifndef WALCTL_CLI_H
#define WALCTL_CLI_H

#include <getopt.h>
#include <stdint.h>

#include <walcore/walcore.h>

/* Exit status; the larger one wins where both are true. */
enum cli_status { CLI_OK = 0, CLI_DAMAGED = 1, CLI_ERROR = 2 };

/* A command being run. Strings are borrowed until exit. */
struct cli {
	const char *name; /* "walctl ls", what messages begin with */
	const char *help; /* what --help prints */
};

/* --help and --version, for getopt_long: 'h' and 'V'. */
extern const struct option cli_longopts[];

/* The end of every getopt switch: prints help or version, or says where help is. Returns the exit status. */
int cli_common_option(const struct cli *cli, int opt);

/* Says what is wrong with the arguments; returns CLI_ERROR. */
int cli_usage(const struct cli *cli, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Says "FORMAT: text of code"; returns CLI_DAMAGED for -EBADMSG, CLI_ERROR for all else. */
int cli_fail(const struct cli *cli, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The larger of two exit statuses. */
int cli_worse(int a, int b);

/* Flushes stdout; returns `status`, or CLI_ERROR with a message where something could not be written. */
int cli_finish(const struct cli *cli, int status);

/* Opens a store, WAL_OPEN_... in flags. Returns an exit status, having said what is wrong; CLI_OK sets ret_store, which
 * is given back with cli_close_store. */
int cli_open_store(const struct cli *cli, const char *url, uint32_t flags, struct wal_store **ret_store);
int cli_close_store(const struct cli *cli, struct wal_store *store, int status);

/* Turns a name into its key: the length in ret_key.len, the bytes in buf. Returns an exit status. */
int cli_key(const struct cli *cli, const char *name, char buf[WAL_KEY_MAX + 1], struct wal_span *ret_key);

/* Opens the stream of that name. Returns an exit status; CLI_OK sets ret_stream. */
int cli_open_stream(const struct cli *cli, struct wal_store *store, const char *name, struct wal_stream **ret_stream);

/* RFC 3339 in UTC with nanoseconds, always as wide; "-" for 0. */
#define CLI_TIME_MAX 40
void cli_format_time(int64_t time_ns, char buf[CLI_TIME_MAX]);

#endif
