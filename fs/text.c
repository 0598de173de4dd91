/* SPDX-License-Identifier: MIT
 *
 * Each text is written with stdio into memory. Times are seconds since 1970 with nine decimals, so that `date -d @` and
 * awk can use them; words are yes and no.
 *
 * Figures change between the stat and the open of a file, or of one tool's reads and another's. So that its size is true all the
 * same, a text of figures has always the same lines, and a last one that makes up for what the values are short of the longest.
 */
#include "text.h"

#include "attr.h"
#include "metrics.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTINGS_BYTES 1024
#define WIDTH 20 /* of the longest value */

static void put_u64(FILE *out, const char *key, uint64_t value)
{
	fprintf(out, "%s %llu\n", key, (unsigned long long)value);
}

static void put_bool(FILE *out, const char *key, bool value)
{
	fprintf(out, "%s %s\n", key, value ? "yes" : "no");
}

static void put_time(FILE *out, const char *key, int64_t ns)
{
	if (ns < 0)
		ns = 0;
	fprintf(out, "%s %lld.%09lld\n", key, (long long)(ns / 1000000000), (long long)(ns % 1000000000));
}

static int put_stat(FILE *out, struct walfs_inode *inode, uint32_t wait)
{
	struct wal_stat stat;
	int err = walfs_attr_stat_full(inode, wait, &stat);
	if (err < 0)
		return err;
	bool empty = stat.first == stat.next;
	put_u64(out, "id", stat.id);
	put_u64(out, "first", empty ? 0 : stat.first);
	put_u64(out, "last", empty ? 0 : stat.next - 1);
	put_u64(out, "next", stat.next);
	put_u64(out, "records", stat.next - stat.first);
	put_u64(out, "bytes", stat.bytes);
	put_u64(out, "disk_bytes", stat.disk_bytes);
	put_u64(out, "segments", stat.segments);
	put_u64(out, "damaged", stat.damaged);
	put_bool(out, "durable", stat.durable);
	put_bool(out, "stopped", stat.stopped);
	put_u64(out, "max_record", wal_max_record(inode->stream));
	put_time(out, "created", stat.created_ns);
	put_time(out, "last_time", empty ? 0 : stat.last_time_ns);
	return 0;
}

static int put_stats(FILE *out, struct walfs *fs)
{
	struct wal_store_stat stat;
	int err = wal_store_stat(fs->store, &stat);
	if (err < 0)
		return err;
	put_u64(out, "streams_live", stat.streams_live);
	put_u64(out, "stream_handles", stat.handles);
	put_u64(out, "segment_files_open", stat.open_files);
	put_u64(out, "appends", stat.appends);
	put_u64(out, "append_bytes", stat.append_bytes);
	put_u64(out, "commits", stat.commits);
	put_u64(out, "syncs", stat.syncs);
	put_u64(out, "checkpoints", stat.checkpoints);
	put_u64(out, "journal_bytes", stat.journal_bytes);
	put_u64(out, "journal_used", stat.journal_used);
	put_u64(out, "errors", stat.errors);
	put_u64(out, "damaged", stat.damaged);
	put_u64(out, "journal_full", stat.journal_full);
	put_u64(out, "recoveries", stat.recoveries);
	put_u64(out, "trimmed", stat.trimmed);
	put_u64(out, "retained", stat.retained);
	put_u64(out, "removed_segments", stat.removed_segments);
	put_bool(out, "read_only", stat.read_only);
	put_u64(out, "files_open", walfs_files_count(&fs->files));
	put_u64(out, "pending_bytes", walfs_users_all(&fs->users, WALFS_PENDING));
	put_u64(out, "pending_memory_bytes", walfs_users_all(&fs->users, WALFS_MEMORY));
	put_u64(out, "pending_drafts", walfs_users_all(&fs->users, WALFS_DRAFTS));
	put_u64(out, "held_bytes", walfs_users_all(&fs->users, WALFS_HELD));
	put_u64(out, "readers_parked", atomic_load(&fs->meter.parked));
	return 0;
}

static void put_trouble(void *arg, const struct wal_trouble *trouble)
{
	FILE *out = arg;
	fprintf(out, "stream=%s file=%s offset=%llu record=%llu count=%llu error=\"%s\" reason=\"%s\"\n",
		trouble->key[0] ? trouble->key : "-", trouble->file[0] ? trouble->file : "-",
		(unsigned long long)trouble->off, (unsigned long long)trouble->seq, (unsigned long long)trouble->n,
		wal_strerror(trouble->code), trouble->reason);
}

static int put_status(FILE *out, struct walfs *fs)
{
	struct wal_store_stat stat;
	int err = wal_store_stat(fs->store, &stat);
	if (err < 0)
		return err;
	fprintf(out, "%s\n", stat.degraded ? "degraded" : "ok");
	return wal_store_troubles(fs->store, put_trouble, out);
}

static int put_settings(FILE *out, struct walfs *fs, struct walfs_inode *inode)
{
	struct wal_settings settings;
	char buf[SETTINGS_BYTES];
	int err = inode ? wal_stream_get_settings(inode->stream, &settings)
			: wal_store_get_settings(fs->store, &settings);
	if (err < 0)
		return err;
	int len = wal_settings_format(&settings, buf, sizeof(buf));
	if (len < 0 || (size_t)len >= sizeof(buf))
		return -EIO;
	fputs(buf, out);
	return 0;
}

static int put_text(FILE *out, struct walfs *fs, struct walfs_inode *inode, enum walfs_kind kind, uint32_t wait)
{
	switch (kind) {
	case WALFS_STAT:
		return put_stat(out, inode, wait);
	case WALFS_CONFIG:
		return put_settings(out, fs, inode);
	case WALFS_VERSION:
		fprintf(out, "walfs %s\n", wal_version());
		return 0;
	case WALFS_STATUS:
		return put_status(out, fs);
	case WALFS_STATS:
		return put_stats(out, fs);
	case WALFS_METRICS:
		return walfs_metrics_put(out, fs, wait);
	case WALFS_STORE_CONFIG:
		return put_settings(out, fs, NULL);
	case WALFS_SYNC:
		return 0;
	default:
		return -ENOENT;
	}
}

/* Lines of key and value, or (after #) of a comment. */
static void put_padding(FILE *out, const char *text, const char *key)
{
	size_t missing = 0;
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		const char *end = strchr(line, '\n');
		const char *space = memrchr(line, ' ', (size_t)(end - line)); /* before the value */
		if (*line != '#')
			missing += WIDTH - (size_t)(end - space - 1);
	}
	fprintf(out, "%s ", key);
	while (missing-- > 0)
		fputc('.', out);
	fputc('\n', out);
}

int walfs_text_make(struct walfs *fs, struct walfs_inode *inode, enum walfs_kind kind, uint32_t wait, char **ret_text,
		    size_t *ret_len)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	if (!out)
		return -ENOMEM;
	int err = put_text(out, fs, inode, kind, wait);
	bool figures = kind == WALFS_STAT || kind == WALFS_STATS || kind == WALFS_METRICS;
	if (err == 0 && figures && fflush(out) == 0)
		put_padding(out, text, kind == WALFS_METRICS ? "# padding" : "padding");
	if (ferror(out) && err == 0)
		err = -ENOMEM;
	if (fclose(out) != 0 && err == 0)
		err = -ENOMEM;
	if (err < 0) {
		free(text);
		return err;
	}
	*ret_text = text;
	*ret_len = len;
	return 0;
}
