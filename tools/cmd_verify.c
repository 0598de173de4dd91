/* SPDX-License-Identifier: MIT
 *
 * walctl verify: reads everything, prints a line for each finding, then a summary. The fields of a finding are separated by
 * tabs, which no name can hold.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "commands.h"

const char cmd_verify_help[] =
	"usage: walctl verify [-q] STORE [STREAM]...\n"
	"\n"
	"Reads everything of the store, or of streams, checks it, and changes nothing. Prints a line for each\n"
	"finding, its fields separated by tabs: 'damaged' (or 'torn', which is none), stream, file, offset,\n"
	"first record, number of records, reason ('-' and 0 where that has no meaning); then a summary.\n"
	"Exit status 1 where something is damaged.\n"
	"\n"
	"  -q  no summary\n";

static const char *or_dash(const char *text)
{
	return text[0] == '\0' ? "-" : text;
}

static void print_finding(void *arg, const struct wal_trouble *trouble)
{
	(void)arg;
	printf("%s\t%s\t%s\t%" PRIu64 "\t%" PRIu64 "\t%" PRIu64 "\t%s\n",
	       trouble->code == -ENODATA ? "torn" : "damaged", or_dash(trouble->key), or_dash(trouble->file),
	       trouble->off, trouble->seq, trouble->n, trouble->reason);
}

static void print_summary(const struct wal_verify *sum)
{
	printf("%" PRIu64 " streams, %" PRIu64 " segments, %" PRIu64 " records, %" PRIu64 " bytes: ", sum->streams,
	       sum->segments, sum->records, sum->bytes);
	if (sum->damaged == 0)
		printf("no damage");
	else
		printf("%" PRIu64 " damaged", sum->damaged);
	if (sum->torn > 0)
		printf(", %" PRIu64 " torn", sum->torn);
	putchar('\n');
}

static int verify_stream(const struct cli *cli, struct wal_store *store, const char *name, struct wal_verify *sum)
{
	struct wal_verify verify = { .found = print_finding };
	struct wal_stream *stream;
	int rc = cli_open_stream(cli, store, name, &stream);

	if (rc != CLI_OK)
		return rc;
	rc = wal_stream_verify(stream, &verify);
	wal_stream_unref(stream);
	if (rc < 0)
		return cli_fail(cli, rc, "stream '%s'", name);
	sum->streams += verify.streams;
	sum->segments += verify.segments;
	sum->records += verify.records;
	sum->bytes += verify.bytes;
	sum->damaged += verify.damaged;
	sum->torn += verify.torn;
	return CLI_OK;
}

int cmd_verify(const struct cli *cli, int argc, char **argv)
{
	struct wal_verify sum = { .found = print_finding };
	struct wal_store *store;
	bool quiet = false;
	int opt, status, i, rc;

	while ((opt = getopt_long(argc, argv, "qhV", cli_longopts, NULL)) != -1) {
		if (opt != 'q')
			return cli_common_option(cli, opt);
		quiet = true;
	}
	if (optind == argc)
		return cli_usage(cli, "the store is missing");
	status = cli_open_store(cli, argv[optind], WAL_OPEN_RDONLY, &store);
	if (status != CLI_OK)
		return status;
	if (optind + 1 == argc) {
		rc = wal_store_verify(store, &sum);
		if (rc < 0)
			status = cli_fail(cli, rc, "%s", argv[optind]);
	}
	for (i = optind + 1; i < argc; i++)
		status = cli_worse(status, verify_stream(cli, store, argv[i], &sum));
	if (!quiet)
		print_summary(&sum);
	if (sum.damaged > 0)
		status = cli_worse(status, CLI_DAMAGED);
	return cli_finish(cli, cli_close_store(cli, store, status));
}
