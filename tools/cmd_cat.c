/* SPDX-License-Identifier: MIT
 *
 * walctl cat: the content or the headers of records, byte for byte, through one buffer however long they are.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "commands.h"
#include "range.h"

#define BUFFER_BYTES (256 * 1024)

const char cmd_cat_help[] = "usage: walctl cat [-H] STORE STREAM [RECORDS]...\n"
			    "\n"
			    "Prints the content of records, one after another, byte for byte.\n"
			    "RECORDS is N, N-M, N-, first or last; without one, all that there are.\n"
			    "A damaged record is reported and left out; exit status 1.\n"
			    "\n"
			    "  -H  print headers instead of contents\n";

/* What a run of the command needs everywhere. */
struct printer {
	const struct cli *cli;
	struct wal_stream *stream; /* borrowed until the end of the run */
	char *buf;                 /* BUFFER_BYTES, owned by cmd_cat */
	bool headers;
};

/* Prints the open record. Returns 0, what reading failed with, or -EIO where stdout fails. */
static int copy_out(const struct printer *printer, struct wal_record *record)
{
	uint64_t off = 0;
	ssize_t n;

	for (;;) {
		if (printer->headers)
			n = wal_record_read_header(record, off, printer->buf, BUFFER_BYTES, 0);
		else
			n = wal_record_read(record, off, printer->buf, BUFFER_BYTES, 0);
		if (n <= 0)
			return (int)n;
		if (fwrite(printer->buf, 1, (size_t)n, stdout) != (size_t)n)
			return 0; /* cli_finish says it */
		off += (uint64_t)n;
	}
}

static int print_record(const struct printer *printer, uint64_t seq)
{
	struct wal_record *record;
	int rc = wal_record_open(printer->stream, seq, 0, &record);

	if (rc < 0)
		return rc;
	rc = copy_out(printer, record);
	wal_record_close(record);
	return rc;
}

/* Says that records from `seq` on are removed. Returns the first number behind them, or 0 where there is none. */
static uint64_t skip_removed(const struct printer *printer, struct cli_range range, uint64_t seq)
{
	struct wal_stat stat;
	int rc = wal_stream_stat(printer->stream, 0, &stat);

	if (rc < 0 || stat.first <= seq || stat.first > range.to) {
		if (seq == range.to)
			cli_fail(printer->cli, -EIDRM, "record %" PRIu64, seq);
		else
			cli_fail(printer->cli, -EIDRM, "records %" PRIu64 " to %" PRIu64, seq, range.to);
		return 0;
	}
	cli_fail(printer->cli, -EIDRM, "records %" PRIu64 " to %" PRIu64, seq, stat.first - 1);
	return stat.first;
}

/* Prints a range. What is damaged or removed is said and left out; the first record that is not there yet ends it. */
static int print_range(const struct printer *printer, struct cli_range range)
{
	uint64_t seq = range.from;
	int status = CLI_OK;
	int rc;

	while (seq > 0 && seq <= range.to && !ferror(stdout)) {
		rc = print_record(printer, seq);
		if (rc == -EIDRM) {
			status = CLI_ERROR;
			seq = skip_removed(printer, range, seq);
			continue;
		}
		if (rc < 0)
			status = cli_worse(status, cli_fail(printer->cli, rc, "record %" PRIu64, seq));
		if (rc < 0 && rc != -EBADMSG)
			break;
		seq++;
	}
	return status;
}

static int print_ranges(const struct printer *printer, const char *name, char **arguments)
{
	const struct cli *cli = printer->cli;
	struct cli_range range;
	struct wal_stat stat;
	int status = CLI_OK;
	int rc = wal_stream_stat(printer->stream, 0, &stat);

	if (rc < 0)
		return cli_fail(cli, rc, "stream '%s'", name);
	if (*arguments == NULL)
		return print_range(printer, cli_range_all(&stat));
	for (; *arguments != NULL; arguments++) {
		rc = cli_range_parse(cli, *arguments, &stat, &range);
		if (rc == CLI_OK)
			rc = print_range(printer, range);
		status = cli_worse(status, rc);
	}
	return status;
}

int cmd_cat(const struct cli *cli, int argc, char **argv)
{
	struct printer printer = { .cli = cli };
	struct wal_store *store;
	int opt, status;

	while ((opt = getopt_long(argc, argv, "HhV", cli_longopts, NULL)) != -1) {
		if (opt != 'H')
			return cli_common_option(cli, opt);
		printer.headers = true;
	}
	if (argc - optind < 2)
		return cli_usage(cli, "the %s is missing", optind == argc ? "store" : "stream");
	printer.buf = malloc(BUFFER_BYTES);
	if (printer.buf == NULL)
		return cli_fail(cli, -ENOMEM, "buffer");
	status = cli_open_store(cli, argv[optind], WAL_OPEN_RDONLY, &store);
	if (status != CLI_OK)
		goto out;
	status = cli_open_stream(cli, store, argv[optind + 1], &printer.stream);
	if (status == CLI_OK) {
		status = print_ranges(&printer, argv[optind + 1], argv + optind + 2);
		wal_stream_unref(printer.stream);
	}
	status = cli_finish(cli, cli_close_store(cli, store, status));
out:
	free(printer.buf);
	return status;
}
