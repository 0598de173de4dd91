/* SPDX-License-Identifier: MIT
 *
 * walctl ls: the streams of a store, sorted by name, or the records of a stream. Columns are padded with spaces; what may
 * hold a space itself, the name, is the last one.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "range.h"

const char cmd_ls_help[] =
	"usage: walctl ls [-1v] STORE\n"
	"       walctl ls [-v] STORE STREAM [RECORDS]...\n"
	"\n"
	"Lists the streams: first record, last record, records, bytes, time of the last record, name;\n"
	"or the records of a stream: number, time, bytes of the header, bytes of the content.\n"
	"RECORDS is N, N-M, N-, first or last; without one, all.\n"
	"\n"
	"  -1  only the names\n"
	"  -v  a line of column titles first\n";

/* The names of all streams, sorted. Names are owned. */
struct names {
	char **name;
	size_t n, room;
};

static void names_fini(struct names *names)
{
	size_t i;

	for (i = 0; i < names->n; i++)
		free(names->name[i]);
	free(names->name);
}

/* Adds the name of a key. Returns 0 or -ENOMEM, or what the key is refused with. */
static int names_add(struct names *names, struct wal_span key)
{
	char name[WAL_NAME_MAX + 1];
	int rc = wal_key_to_name(key, name);

	if (rc < 0)
		return rc;
	if (names->n == names->room) {
		size_t room = names->room == 0 ? 64 : names->room * 2;
		char **grown = reallocarray(names->name, room, sizeof(*grown));

		if (grown == NULL)
			return -ENOMEM;
		names->name = grown;
		names->room = room;
	}
	names->name[names->n] = strdup(name);
	if (names->name[names->n] == NULL)
		return -ENOMEM;
	names->n++;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_load(struct names *names, struct wal_store *store)
{
	struct wal_keys *keys;
	struct wal_span key;
	uint64_t cookie;
	int rc = wal_keys_open(store, &keys);

	if (rc < 0)
		return rc;
	while ((rc = wal_keys_next(keys, &key, &cookie)) > 0) {
		rc = names_add(names, key);
		if (rc < 0)
			break;
	}
	wal_keys_close(keys);
	if (rc == 0 && names->n > 0)
		qsort(names->name, names->n, sizeof(*names->name), compare);
	return rc;
}

static int list_stream(const struct cli *cli, struct wal_store *store, const char *name)
{
	struct wal_stream *stream;
	struct wal_stat stat;
	char when[CLI_TIME_MAX];
	bool empty;
	int rc = cli_open_stream(cli, store, name, &stream);

	if (rc != CLI_OK)
		return rc;
	rc = wal_stream_stat(stream, 0, &stat);
	wal_stream_unref(stream);
	if (rc < 0)
		return cli_fail(cli, rc, "stream '%s'", name);
	empty = stat.first == stat.next;
	cli_format_time(empty ? 0 : stat.last_time_ns, when);
	printf("%10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %14" PRIu64 " %-30s %s\n", empty ? 0 : stat.first,
	       empty ? 0 : stat.next - 1, stat.next - stat.first, stat.bytes, when, name);
	return CLI_OK;
}

static int list_store(const struct cli *cli, struct wal_store *store, bool names_only, bool titles)
{
	struct names names = { 0 };
	int status = CLI_OK;
	size_t i;
	int rc = names_load(&names, store);

	if (rc < 0)
		status = cli_fail(cli, rc, "streams");
	else if (titles && names_only)
		puts("name");
	else if (titles)
		printf("%10s %10s %10s %14s %-30s %s\n", "first", "last", "records", "bytes", "time", "name");
	for (i = 0; rc >= 0 && i < names.n && !ferror(stdout); i++) {
		if (names_only)
			puts(names.name[i]);
		else
			status = cli_worse(status, list_stream(cli, store, names.name[i]));
	}
	names_fini(&names);
	return status;
}

static void print_record(const struct wal_info *info)
{
	char when[CLI_TIME_MAX];

	cli_format_time(info->time_ns, when);
	printf("%10" PRIu64 " %-30s %6" PRIu32 " %12" PRIu64 "\n", info->seq, when, info->header_len,
	       info->content_len);
}

/* Prints what the iterator gave for range.to or a record before it: a record, a damaged one, whose line has dashes for what
 * is not known, or that a trim took the records before view->info.seq. Returns an exit status. */
static int list_one(const struct cli *cli, int rc, const struct wal_view *view)
{
	uint64_t seq = view->info.seq;

	if (rc == 1) {
		print_record(&view->info);
		return CLI_OK;
	}
	if (rc == -EIDRM)
		return cli_fail(cli, rc, "records before %" PRIu64, seq);
	printf("%10" PRIu64 " %-30s %6s %12s\n", seq, "-", "-", "-");
	return cli_fail(cli, rc, "record %" PRIu64, seq);
}

static int list_range(const struct cli *cli, struct wal_stream *stream, struct cli_range range)
{
	uint64_t seq = range.from; /* the next to come */
	struct wal_view view = { 0 };
	struct wal_iter *iter;
	int status = CLI_OK;
	int rc = wal_iter_open(stream, range.from, WAL_ITER_INFO, &iter);

	if (rc < 0)
		return cli_fail(cli, rc, "record %" PRIu64, range.from);
	while (seq <= range.to && !ferror(stdout)) {
		view.info.seq = 0;
		rc = wal_iter_next(iter, &view);
		if (rc == 0)
			rc = -ENOENT;
		if (rc < 0 && (view.info.seq == 0 || (rc != -EBADMSG && rc != -EIDRM))) {
			status = cli_worse(status, cli_fail(cli, rc, "record %" PRIu64, seq));
			break;
		}
		if (rc != -EIDRM && view.info.seq > range.to)
			break;
		status = cli_worse(status, list_one(cli, rc, &view));
		seq = view.info.seq + (rc != -EIDRM);
	}
	wal_iter_close(iter);
	return status;
}

static int list_records(const struct cli *cli, struct wal_store *store, char **argv, bool titles)
{
	struct wal_stream *stream;
	struct wal_stat stat;
	struct cli_range range;
	int status = cli_open_stream(cli, store, argv[0], &stream);
	int rc;

	if (status != CLI_OK)
		return status;
	rc = wal_stream_stat(stream, 0, &stat);
	if (rc < 0) {
		status = cli_fail(cli, rc, "stream '%s'", argv[0]);
		goto out;
	}
	if (titles)
		printf("%10s %-30s %6s %12s\n", "record", "time", "header", "content");
	range = cli_range_all(&stat);
	if (argv[1] == NULL && range.from <= range.to)
		status = list_range(cli, stream, range);
	while (*++argv != NULL) {
		rc = cli_range_parse(cli, *argv, &stat, &range);
		if (rc == CLI_OK && range.from <= range.to)
			rc = list_range(cli, stream, range);
		status = cli_worse(status, rc);
	}
out:
	wal_stream_unref(stream);
	return status;
}

int cmd_ls(const struct cli *cli, int argc, char **argv)
{
	bool names_only = false, titles = false;
	struct wal_store *store;
	int opt, status;

	while ((opt = getopt_long(argc, argv, "1vhV", cli_longopts, NULL)) != -1) {
		if (opt == '1')
			names_only = true;
		else if (opt == 'v')
			titles = true;
		else
			return cli_common_option(cli, opt);
	}
	if (optind == argc)
		return cli_usage(cli, "the store is missing");
	if (names_only && argc - optind > 1)
		return cli_usage(cli, "-1 is for the streams of a store");
	status = cli_open_store(cli, argv[optind], WAL_OPEN_RDONLY, &store);
	if (status != CLI_OK)
		return status;
	if (argc - optind == 1)
		status = list_store(cli, store, names_only, titles);
	else
		status = list_records(cli, store, argv + optind + 1, titles);
	return cli_finish(cli, cli_close_store(cli, store, status));
}
