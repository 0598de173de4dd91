/* SPDX-License-Identifier: MIT
 *
 * Names are walfs_WHAT_UNIT, with _total for what only grows; units are seconds and bytes. There is always the same set of
 * lines: see text.c.
 */
#include "metrics.h"

#include <errno.h>

static void head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP walfs_%s %s\n# TYPE walfs_%s %s\n", name, help, name, type);
}

static void put(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	head(out, name, type, help);
	fprintf(out, "walfs_%s %llu\n", name, (unsigned long long)value);
}

static void counter(FILE *out, const char *name, const char *help, uint64_t value)
{
	put(out, name, "counter", help, value);
}

static void gauge(FILE *out, const char *name, const char *help, uint64_t value)
{
	put(out, name, "gauge", help, value);
}

static void histogram(FILE *out, const char *name, const char *help, const struct wal_histogram *times)
{
	static const uint64_t bounds_ns[WAL_LATENCY_BUCKETS - 1] = WAL_LATENCY_BOUNDS_NS;
	uint64_t n = 0;
	head(out, name, "histogram", help);
	for (unsigned i = 0; i < WAL_LATENCY_BUCKETS; i++) {
		n += times->n[i];
		fprintf(out, "walfs_%s_bucket{le=\"", name);
		if (i < WAL_LATENCY_BUCKETS - 1)
			fprintf(out, "%g", (double)bounds_ns[i] / 1e9);
		else
			fputs("+Inf", out);
		fprintf(out, "\"} %llu\n", (unsigned long long)n);
	}
	fprintf(out, "walfs_%s_sum %llu.%09llu\n", name, (unsigned long long)(times->sum_ns / 1000000000),
		(unsigned long long)(times->sum_ns % 1000000000));
	fprintf(out, "walfs_%s_count %llu\n", name, (unsigned long long)n);
}

static void put_mount(FILE *out, struct walfs *fs)
{
	head(out, "build_info", "gauge", "Always 1; the version is a label.");
	fprintf(out, "walfs_build_info{version=\"%s\"} 1\n", wal_version());
	head(out, "start_time_seconds", "gauge", "When the store was mounted, in seconds since 1970.");
	fprintf(out, "walfs_start_time_seconds %.3f\n", (double)fs->meter.started_ns / 1e9);
}

static void put_store(FILE *out, const struct wal_store_stat *stat)
{
	counter(out, "appends_total", "Records committed.", stat->appends);
	counter(out, "append_bytes_total", "Bytes of header and content of them.", stat->append_bytes);
	counter(out, "commits_total", "Groups of records committed through the journal.", stat->commits);
	counter(out, "syncs_total", "Calls that waited for the disk: fdatasync, fsync, syncfs.", stat->syncs);
	counter(out, "checkpoints_total", "Checkpoints of the journal.", stat->checkpoints);
	histogram(out, "journal_sync_seconds", "Syncs of the journal, which durable appends wait for.",
		  &stat->commit_time);
	histogram(out, "sync_seconds", "All other syncs.", &stat->sync_time);
	histogram(out, "checkpoint_seconds", "Checkpoints.", &stat->checkpoint_time);
	histogram(out, "recovery_seconds", "Recoveries of a stream, when it is first used.", &stat->recovery_time);
	counter(out, "store_errors_total", "I/O errors and damage met in the store.", stat->errors);
	counter(out, "damaged_total", "Those of them that are damage.", stat->damaged);
	counter(out, "journal_full_total", "Appends that waited for room in the journal.", stat->journal_full);
	counter(out, "trimmed_total", "Records removed by hand.", stat->trimmed);
	counter(out, "retained_total", "Records removed by retention.", stat->retained);
	counter(out, "segments_removed_total", "Segment files removed.", stat->removed_segments);
	gauge(out, "journal_size_bytes", "Size of the commit journal.", stat->journal_bytes);
	gauge(out, "journal_used_bytes", "Bytes of it that are not checkpointed.", stat->journal_used);
	gauge(out, "streams_live", "Streams recovered and in memory.", stat->streams_live);
	gauge(out, "stream_handles", "Streams known to the kernel or in use.", stat->handles);
	gauge(out, "segment_files_open", "Segment files that the store has open.", stat->open_files);
	gauge(out, "read_only", "1 where the store is read-only.", stat->read_only);
	gauge(out, "degraded", "1 where something is stopped or damaged; .walfs/status says what.", stat->degraded);
}

static void put_space(FILE *out, const struct wal_space *space)
{
	gauge(out, "space_size_bytes", "Size of the file system of the store.", space->total);
	gauge(out, "space_free_bytes", "Free bytes of it.", space->free);
	gauge(out, "space_available_bytes", "Free bytes of it for users other than root.", space->avail);
}

static void put_users(FILE *out, struct walfs *fs)
{
	struct walfs_users *users = &fs->users;
	gauge(out, "files_open", "Open files and directories of the mount.", walfs_users_all(users, WALFS_FILES));
	gauge(out, "pending_bytes", "Bytes written and not committed.", walfs_users_all(users, WALFS_PENDING));
	gauge(out, "pending_memory_bytes", "Memory for them.", walfs_users_all(users, WALFS_MEMORY));
	gauge(out, "pending_drafts", "Records that are written to disk before their commit.",
	      walfs_users_all(users, WALFS_DRAFTS));
	gauge(out, "held_bytes", "Memory for writes that queue, headers and texts.",
	      walfs_users_all(users, WALFS_HELD));
	gauge(out, "readers_parked", "Reads that wait for a record.", atomic_load(&fs->meter.parked));
}

static void put_requests(FILE *out, const struct walfs_meter *meter)
{
	head(out, "requests_total", "counter", "Requests of the kernel.");
	for (enum walfs_op op = 0; op < WALFS_OPS; op++)
		fprintf(out, "walfs_requests_total{operation=\"%s\"} %llu\n", walfs_meter_op_name(op),
			(unsigned long long)atomic_load(&meter->requests[op]));
	head(out, "errors_total", "counter", "Requests answered with an error.");
	const char *name;
	for (unsigned i = 0; (name = walfs_meter_error_name(i)); i++)
		fprintf(out, "walfs_errors_total{errno=\"%s\"} %llu\n", name,
			(unsigned long long)atomic_load(&meter->errors[i]));
}

int walfs_metrics_put(FILE *out, struct walfs *fs, uint32_t wait)
{
	struct wal_store_stat stat = { 0 };
	struct wal_space space = { 0 };
	if (wait & WAL_NOWAIT)
		return -EAGAIN;
	int err = wal_store_stat(fs->store, &stat);
	if (err == 0)
		err = wal_store_space(fs->store, &space);
	if (err < 0)
		return err;
	put_mount(out, fs);
	put_store(out, &stat);
	put_space(out, &space);
	put_users(out, fs);
	put_requests(out, &fs->meter);
	return 0;
}
