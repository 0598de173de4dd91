/* SPDX-License-Identifier: MIT
 *
 * make DIR: a store of the format that this library writes, for tests/golden/vN. Run once for each version, when it is
 * frozen; what is in it stands in golden.h, and the test reads it forever after.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "golden.h"

static int64_t clock_ns = GOLDEN_START;

static int64_t now(void *arg)
{
	(void)arg;
	return clock_ns;
}

static int fill(struct wal_stream *stream, const struct golden_stream *want)
{
	int r = 0;

	for (uint64_t seq = 1; seq < want->next && r == 0; seq++) {
		struct wal_entry entry;
		struct wal_append req = { .entries = &entry, .n = 1 };

		golden_record(want, seq, &entry.header, &entry.content);
		clock_ns = golden_time(want, seq);
		r = wal_append(stream, &req);
		golden_free(&entry.header, &entry.content);
	}
	return r < 0 ? r : wal_trim(stream, want->first, WAL_TRIM_DURABLE);
}

int main(int argc, char **argv)
{
	struct wal_opts opts = { .flags = WAL_OPEN_CREATE,
				 .journal_bytes = 65536,
				 .segment_bytes = 8192,
				 .interval_ns = UINT64_C(3600000000000),
				 .now_ns = now };
	struct wal_store *store;
	struct wal_err err;
	int r;

	if (argc != 2)
		return 2;
	r = wal_store_open(argv[1], &opts, &store, &err);
	if (r < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	for (size_t i = 0; i < GOLDEN_STREAMS && r == 0; i++) {
		const struct golden_stream *want = &golden_streams[i];
		struct wal_stream *stream;

		clock_ns = GOLDEN_START;
		r = wal_stream_create(store, (struct wal_span){ want->key, strlen(want->key) }, &want->attr,
				      &want->settings, &stream);
		if (r == 0) {
			r = fill(stream, want);
			wal_stream_unref(stream);
		}
	}
	if (wal_store_close(store) < 0 || r < 0)
		fprintf(stderr, "%s\n", wal_strerror(r));
	return r < 0;
}
