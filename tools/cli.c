/* SPDX-License-Identifier: MIT
 *
 * cli: what the commands of walctl share.
 */
#include "cli.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define NS_PER_S 1000000000

const struct option cli_longopts[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "version", no_argument, NULL, 'V' },
	{ NULL, 0, NULL, 0 },
};

int cli_common_option(const struct cli *cli, int opt)
{
	if (opt == 'h') {
		fputs(cli->help, stdout);
		return cli_finish(cli, CLI_OK);
	}
	if (opt == 'V') {
		printf("walctl %s\n", wal_version());
		return cli_finish(cli, CLI_OK);
	}
	/* getopt_long has said what is wrong. */
	fprintf(stderr, "Try '%s --help'.\n", cli->name);
	return CLI_ERROR;
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "%s: ", cli->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry '%s --help'.\n", cli->name);
	return CLI_ERROR;
}

int cli_fail(const struct cli *cli, int code, const char *fmt, ...)
{
	va_list ap;

	/* What was printed so far comes before its complaint, where both go to one terminal. */
	(void)fflush(stdout); /* cli_finish finds a failure again */
	fprintf(stderr, "%s: ", cli->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", wal_strerror(code));
	return code == -EBADMSG ? CLI_DAMAGED : CLI_ERROR;
}

int cli_worse(int a, int b)
{
	return a > b ? a : b;
}

int cli_finish(const struct cli *cli, int status)
{
	int failed = ferror(stdout);

	if (fflush(stdout) != 0)
		return cli_fail(cli, -errno, "standard output");
	if (failed) {
		fprintf(stderr, "%s: standard output: write failed\n", cli->name);
		return CLI_ERROR;
	}
	return status;
}

int cli_open_store(const struct cli *cli, const char *url, uint32_t flags, struct wal_store **ret_store)
{
	struct wal_opts opts = { .flags = flags, .holder = cli->name };
	struct wal_err err = { 0 };
	int rc = wal_store_open(url, &opts, ret_store, &err);

	if (rc >= 0)
		return CLI_OK;
	if (err.text[0] == '\0')
		return cli_fail(cli, rc, "%s", url);
	fprintf(stderr, "%s: %s\n", cli->name, err.text);
	return rc == -EBADMSG ? CLI_DAMAGED : CLI_ERROR;
}

int cli_close_store(const struct cli *cli, struct wal_store *store, int status)
{
	int rc = wal_store_close(store);

	if (rc < 0)
		return cli_worse(status, cli_fail(cli, rc, "close"));
	return status;
}

int cli_key(const struct cli *cli, const char *name, char buf[WAL_KEY_MAX + 1], struct wal_span *ret_key)
{
	int len = wal_key_from_name(name, buf);

	if (len < 0)
		return cli_fail(cli, len, "'%s' is not the name of a stream", name);
	*ret_key = (struct wal_span){ .base = buf, .len = (size_t)len };
	return CLI_OK;
}

int cli_open_stream(const struct cli *cli, struct wal_store *store, const char *name, struct wal_stream **ret_stream)
{
	char buf[WAL_KEY_MAX + 1];
	struct wal_span key = { 0 };
	int rc = cli_key(cli, name, buf, &key);

	if (rc != CLI_OK)
		return rc;
	rc = wal_stream_open(store, key, ret_stream);
	if (rc < 0)
		return cli_fail(cli, rc, "stream '%s'", name);
	return CLI_OK;
}

void cli_format_time(int64_t time_ns, char buf[CLI_TIME_MAX])
{
	int64_t ns = time_ns % NS_PER_S;
	time_t sec = time_ns / NS_PER_S;
	struct tm tm;
	size_t len;

	if (ns < 0) {
		ns += NS_PER_S;
		sec--;
	}
	if (time_ns == 0 || gmtime_r(&sec, &tm) == NULL) {
		snprintf(buf, CLI_TIME_MAX, "-");
		return;
	}
	len = strftime(buf, CLI_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + len, CLI_TIME_MAX - len, ".%09" PRId64 "Z", ns);
}
