/* SPDX-License-Identifier: MIT
 *
 * walctl append: each argument is a record, or all of standard input is one, or each line of it. What fits a buffer is
 * appended in one call; longer input goes to disk through a draft as it comes, so memory does not grow with it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"

#define BUFFER_BYTES (1024 * 1024)
#define LINES_MAX 4096 /* records of one batch of -l; their entries take 128 KiB */

const char cmd_append_help[] =
	"usage: walctl append [-cdl] [-H HEADER] [-e NUMBER] STORE STREAM [CONTENT]...\n"
	"\n"
	"Appends a record for each CONTENT, all of them or none; without one, standard input is the content of one\n"
	"record (none where it is empty and no header is given). Prints the number of each record.\n"
	"\n"
	"  -c         make the stream, and the store where its directory is empty or missing\n"
	"  -d         durable, also in a relaxed stream\n"
	"  -e NUMBER  the first record gets this number, or nothing is appended\n"
	"  -H HEADER  the header of each record\n"
	"  -l         each line of standard input is a record, its newline kept, at most 1 MiB\n";

/* A run of the command. */
struct appender {
	const struct cli *cli;
	struct wal_stream *stream;
	struct wal_span header;    /* borrowed from argv */
	struct wal_entry *entries; /* owned; LINES_MAX with -l, else one for each argument */
	char *buf;                 /* owned; BUFFER_BYTES */
	uint64_t expect;           /* 0: any */
	uint32_t flags;            /* WAL_APPEND_... */
	bool create, lines;
};

/* Appends the first n entries, or the draft, and prints the numbers. Returns an exit status. */
static int submit(struct appender *appender, uint32_t n, struct wal_draft *draft)
{
	struct wal_append req = { .flags = appender->flags, .expect = appender->expect, .draft = draft };
	uint32_t i;
	int rc;

	if (draft == NULL) {
		req.entries = appender->entries;
		req.n = n;
	}
	rc = wal_append(appender->stream, &req);
	if (rc == -ESTALE) {
		fprintf(stderr, "%s: the next record is not %" PRIu64 "\n", appender->cli->name, appender->expect);
		return CLI_ERROR;
	}
	if (rc < 0)
		return cli_fail(appender->cli, rc, "append");
	for (i = 0; i < n; i++)
		printf("%" PRIu64 "\n", req.seq + i);
	if (appender->expect > 0)
		appender->expect += n;
	return CLI_OK;
}

static void set_entry(struct appender *appender, uint32_t i, const char *base, size_t len)
{
	appender->entries[i].header = appender->header;
	appender->entries[i].content = (struct wal_span){ .base = base, .len = len };
}

static int append_arguments(struct appender *appender, char **argv, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		set_entry(appender, i, argv[i], strlen(argv[i]));
	return submit(appender, n, NULL);
}

/* Reads until the buffer, which holds `have` bytes, is full or stdin ends; with `once` what is there. Returns how many bytes
 * it holds then, or a negative errno. */
static ssize_t fill(char *buf, size_t have, bool once)
{
	ssize_t n;

	while (have < BUFFER_BYTES) {
		n = read(STDIN_FILENO, buf + have, BUFFER_BYTES - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		have += (size_t)n;
		if (n == 0 || once)
			break;
	}
	return (ssize_t)have;
}

/* Standard input is longer than the buffer, which is full: writes it to a draft. */
static int append_long(struct appender *appender)
{
	struct wal_draft *draft;
	ssize_t n = BUFFER_BYTES;
	int status;
	int rc = wal_draft_open(appender->stream, appender->header, &draft);

	if (rc < 0)
		return cli_fail(appender->cli, rc, "append");
	while (n > 0) {
		rc = wal_draft_write(draft, appender->buf, (size_t)n);
		if (rc < 0) {
			status = cli_fail(appender->cli, rc, "append");
			goto out;
		}
		n = fill(appender->buf, 0, false);
	}
	if (n < 0) {
		status = cli_fail(appender->cli, (int)n, "standard input");
		goto out;
	}
	status = submit(appender, 1, draft);
	if (status == CLI_OK)
		draft = NULL; /* consumed */
out:
	wal_draft_abort(draft);
	return status;
}

static int append_stdin(struct appender *appender)
{
	ssize_t n = fill(appender->buf, 0, false);

	if (n < 0)
		return cli_fail(appender->cli, (int)n, "standard input");
	if (n == BUFFER_BYTES)
		return append_long(appender);
	if (n == 0 && appender->header.len == 0)
		return CLI_OK;
	set_entry(appender, 0, appender->buf, (size_t)n);
	return submit(appender, 1, NULL);
}

/* Appends the complete lines of the first `len` bytes; at the end of the input what is left is a line too. Sets *ret_used to
 * the bytes that are done with. */
static int append_complete(struct appender *appender, size_t len, bool end, size_t *ret_used)
{
	size_t used = 0, size;
	uint32_t n = 0;
	int status = CLI_OK;
	char *newline;

	while (used < len && status == CLI_OK) {
		newline = memchr(appender->buf + used, '\n', len - used);
		if (newline == NULL && !end)
			break;
		size = newline == NULL ? len - used : (size_t)(newline - appender->buf) + 1 - used;
		set_entry(appender, n++, appender->buf + used, size);
		used += size;
		if (n == LINES_MAX) {
			status = submit(appender, n, NULL);
			n = 0;
		}
	}
	if (n > 0 && status == CLI_OK)
		status = submit(appender, n, NULL);
	*ret_used = used;
	return status;
}

/* The lines that one read brings are committed together, so that a line that comes alone waits for no other. */
static int append_lines(struct appender *appender)
{
	size_t have = 0, used;
	bool end = false;
	int status;
	ssize_t n;

	while (!end) {
		n = fill(appender->buf, have, true);
		if (n < 0)
			return cli_fail(appender->cli, (int)n, "standard input");
		end = (size_t)n == have;
		have = (size_t)n;
		status = append_complete(appender, have, end, &used);
		if (status == CLI_OK)
			status = cli_finish(appender->cli, CLI_OK);
		if (status != CLI_OK)
			return status;
		memmove(appender->buf, appender->buf + used, have - used);
		have -= used;
		if (have == BUFFER_BYTES)
			return cli_fail(appender->cli, -EMSGSIZE, "line");
	}
	return CLI_OK;
}

/* Opens the stream, or makes it with owner and mode as mkdir(1) would. */
static int open_stream(struct appender *appender, struct wal_store *store, const char *name)
{
	const struct cli *cli = appender->cli;
	struct wal_settings settings = { 0 };
	struct wal_attr attr;
	char buf[WAL_KEY_MAX + 1];
	struct wal_span key = { 0 };
	mode_t mask;
	int rc = cli_key(cli, name, buf, &key);

	if (rc != CLI_OK)
		return rc;
	rc = wal_stream_open(store, key, &appender->stream);
	if (rc == -ENOENT && appender->create) {
		mask = umask(0);
		umask(mask);
		attr = (struct wal_attr){ .uid = geteuid(), .gid = getegid(), .mode = 0777 & ~mask };
		rc = wal_stream_create(store, key, &attr, &settings, &appender->stream);
	}
	if (rc < 0)
		return cli_fail(cli, rc, "stream '%s'", name);
	return CLI_OK;
}

/* Appends to the open store what the arguments behind the stream's name, or stdin, say. */
static int append(struct appender *appender, struct wal_store *store, char **argv, uint32_t n)
{
	int status = open_stream(appender, store, argv[0]);

	if (status != CLI_OK)
		return status;
	if (n > 0)
		status = append_arguments(appender, argv + 1, n);
	else if (appender->lines)
		status = append_lines(appender);
	else
		status = append_stdin(appender);
	wal_stream_unref(appender->stream);
	return status;
}

/* Returns an exit status, or -1 to go on. */
static int parse_options(struct appender *appender, int argc, char **argv)
{
	char *end;
	int opt;

	while ((opt = getopt_long(argc, argv, "cde:H:lhV", cli_longopts, NULL)) != -1) {
		switch (opt) {
		case 'c':
			appender->create = true;
			break;
		case 'd':
			appender->flags |= WAL_APPEND_DURABLE;
			break;
		case 'e':
			errno = 0;
			appender->expect = strtoull(optarg, &end, 10);
			if (errno != 0 || *end != '\0' || optarg[0] < '0' || optarg[0] > '9' || appender->expect == 0)
				return cli_usage(appender->cli, "'%s' is not the number of a record", optarg);
			break;
		case 'H':
			appender->header = (struct wal_span){ .base = optarg, .len = strlen(optarg) };
			break;
		case 'l':
			appender->lines = true;
			break;
		default:
			return cli_common_option(appender->cli, opt);
		}
	}
	if (argc - optind < 2)
		return cli_usage(appender->cli, "the %s is missing", optind == argc ? "store" : "stream");
	if (appender->lines && argc - optind > 2)
		return cli_usage(appender->cli, "-l is for standard input");
	return -1;
}

int cmd_append(const struct cli *cli, int argc, char **argv)
{
	struct appender appender = { .cli = cli };
	struct wal_store *store;
	uint32_t n, room;
	int status = parse_options(&appender, argc, argv);

	if (status >= 0)
		return status;
	n = (uint32_t)(argc - optind - 2);
	room = appender.lines ? LINES_MAX : n == 0 ? 1 : n;
	appender.entries = calloc(room, sizeof(*appender.entries));
	appender.buf = n > 0 ? NULL : malloc(BUFFER_BYTES);
	if (appender.entries == NULL || (n == 0 && appender.buf == NULL)) {
		status = cli_fail(cli, -ENOMEM, "buffer");
		goto out;
	}
	status = cli_open_store(cli, argv[optind], appender.create ? WAL_OPEN_CREATE : 0, &store);
	if (status != CLI_OK)
		goto out;
	status = append(&appender, store, argv + optind + 1, n);
	status = cli_finish(cli, cli_close_store(cli, store, status));
out:
	free(appender.entries);
	free(appender.buf);
	return status;
}
