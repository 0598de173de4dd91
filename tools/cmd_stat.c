/* SPDX-License-Identifier: MIT
 *
 * walctl stat: figures and settings, one "key value" a line. What a mount shows in .stat and .walfs/stats too has the
 * same key and form here.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"

#define NS_PER_S 1000000000

const char cmd_stat_help[] =
	"usage: walctl stat STORE [STREAM]...\n"
	"\n"
	"Prints figures and settings of the store, or of streams, one 'key value' a line; an empty line\n"
	"between two streams.\n";

static void print_number(const char *key, uint64_t value)
{
	printf("%s %" PRIu64 "\n", key, value);
}

static void print_bool(const char *key, bool value)
{
	printf("%s %s\n", key, value ? "yes" : "no");
}

/* Seconds, as in .stat: awk can subtract them. */
static void print_time(const char *key, int64_t time_ns)
{
	if (time_ns < 0)
		time_ns = 0;
	printf("%s %" PRId64 ".%09" PRId64 "\n", key, time_ns / NS_PER_S, time_ns % NS_PER_S);
}

/* Prints each "key=value" line as "config.key value": a setting may have the name of a figure. */
static void print_settings(const struct wal_settings *settings)
{
	char text[1024];
	char *line = text, *end;
	int len = wal_settings_format(settings, text, sizeof(text));

	if (len < 0 || (size_t)len >= sizeof(text))
		return;
	for (; (end = strchr(line, '\n')) != NULL; line = end + 1) {
		char *equals = memchr(line, '=', (size_t)(end - line));

		if (equals != NULL)
			*equals = ' ';
		printf("config.%.*s\n", (int)(end - line), line);
	}
}

static int count_streams(struct wal_store *store, uint64_t *ret_n)
{
	struct wal_keys *keys;
	struct wal_span key;
	uint64_t cookie, n = 0;
	int rc = wal_keys_open(store, &keys);

	if (rc < 0)
		return rc;
	while ((rc = wal_keys_next(keys, &key, &cookie)) > 0)
		n++;
	wal_keys_close(keys);
	if (rc == 0)
		*ret_n = n;
	return rc;
}

static int stat_store(const struct cli *cli, struct wal_store *store)
{
	struct wal_settings settings;
	struct wal_store_stat stat;
	struct wal_space space;
	uint64_t streams;
	int rc = count_streams(store, &streams);

	if (rc < 0)
		return cli_fail(cli, rc, "streams");
	rc = wal_store_stat(store, &stat);
	if (rc >= 0)
		rc = wal_store_space(store, &space);
	if (rc >= 0)
		rc = wal_store_get_settings(store, &settings);
	if (rc < 0)
		return cli_fail(cli, rc, "store");
	print_number("streams", streams);
	print_number("journal_bytes", stat.journal_bytes);
	print_number("journal_used", stat.journal_used);
	print_number("errors", stat.errors);
	print_bool("degraded", stat.degraded);
	print_number("space_total", space.total);
	print_number("space_free", space.free);
	print_number("space_avail", space.avail);
	print_number("files_total", space.files);
	print_number("files_free", space.files_free);
	print_settings(&settings);
	return CLI_OK;
}

static int stat_stream(const struct cli *cli, struct wal_store *store, const char *name)
{
	struct wal_settings settings;
	struct wal_stream *stream;
	struct wal_stat stat;
	uint64_t max_record;
	bool empty;
	int rc = cli_open_stream(cli, store, name, &stream);

	if (rc != CLI_OK)
		return rc;
	rc = wal_stream_stat(stream, 0, &stat);
	if (rc >= 0)
		rc = wal_stream_get_settings(stream, &settings);
	max_record = wal_max_record(stream);
	wal_stream_unref(stream);
	if (rc < 0)
		return cli_fail(cli, rc, "stream '%s'", name);
	empty = stat.first == stat.next;
	printf("name %s\n", name);
	print_number("id", stat.id);
	print_number("uid", stat.attr.uid);
	print_number("gid", stat.attr.gid);
	printf("mode %04" PRIo32 "\n", stat.attr.mode);
	print_number("first", empty ? 0 : stat.first);
	print_number("last", empty ? 0 : stat.next - 1);
	print_number("next", stat.next);
	print_number("records", stat.next - stat.first);
	print_number("bytes", stat.bytes);
	print_number("disk_bytes", stat.disk_bytes);
	print_number("segments", stat.segments);
	print_number("damaged", stat.damaged);
	print_bool("stopped", stat.stopped);
	print_time("created", stat.created_ns);
	print_time("last_time", empty ? 0 : stat.last_time_ns);
	print_number("max_record", max_record);
	printf("durable %s\n", stat.durable ? "yes" : "no");
	print_settings(&settings);
	return CLI_OK;
}

int cmd_stat(const struct cli *cli, int argc, char **argv)
{
	struct wal_store *store;
	int opt, status, i;

	opt = getopt_long(argc, argv, "hV", cli_longopts, NULL);
	if (opt != -1)
		return cli_common_option(cli, opt);
	if (optind == argc)
		return cli_usage(cli, "the store is missing");
	status = cli_open_store(cli, argv[optind], WAL_OPEN_RDONLY, &store);
	if (status != CLI_OK)
		return status;
	if (optind + 1 == argc)
		status = stat_store(cli, store);
	for (i = optind + 1; i < argc; i++) {
		if (i > optind + 1)
			putchar('\n');
		status = cli_worse(status, stat_stream(cli, store, argv[i]));
	}
	return cli_finish(cli, cli_close_store(cli, store, status));
}
