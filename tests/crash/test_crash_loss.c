/* SPDX-License-Identifier: MIT
 *
 * The power is lost at every call, in everything that a store does.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "loss.h"

static const struct wal_settings durable = { .durability = WAL_DURABILITY_DURABLE };
static const struct wal_settings relaxed = { .durability = WAL_DURABILITY_RELAXED };

static void append(struct session *s)
{
	uint32_t a;

	(void)ledger_create(s, "a", NULL, &a);
	for (uint32_t n = 0; n < 8; n++)
		(void)ledger_append(s, a, 1, n * 7, 30 + n * 150, 0);
}

static void append_relaxed(struct session *s)
{
	uint32_t a, b;

	(void)ledger_create(s, "a", &relaxed, &a);
	(void)ledger_create(s, "b", &durable, &b);
	for (uint32_t n = 0; n < 10; n++) {
		(void)ledger_append(s, a, 1, n * 7, 30 + n * 150, n % 4 == 3 ? WAL_APPEND_DURABLE : 0);
		if (n % 3 == 0)
			(void)ledger_append(s, b, 1, 0, 400, 0);
		if (n == 5)
			(void)ledger_sync(s, a);
		if (n == 8)
			(void)ledger_sync_store(s);
	}
}

/* Batches of one entry of the journal, and larger ones, alone and among others. */
static void batches(struct session *s)
{
	uint32_t a, b;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", &relaxed, &b);
	for (uint32_t n = 1; n < 5; n++)
		(void)ledger_append(s, n % 2 ? a : b, 3 * n, n, 25 * n, 0);
	(void)ledger_append(s, a, 40, 3, 300, 0);
	(void)ledger_append(s, b, 40, 3, 300, 0);
	(void)ledger_append(s, a, 1, 0, 40, 0);
	(void)ledger_append(s, a, 2, 3, 5000, 0);
	(void)ledger_append(s, b, 60, 0, 200, WAL_APPEND_DURABLE);
	(void)ledger_append(s, a, 60, 0, 200, 0);
	(void)ledger_append(s, b, 3, 0, 200, 0);
}

static void drafts(struct session *s)
{
	uint32_t a, b;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", &relaxed, &b);
	(void)ledger_append_draft(s, a, 5, 70000, 0);
	(void)ledger_append(s, a, 1, 5, 50, 0);
	(void)ledger_append(s, a, 1, 5, 9000, 0); /* past an eighth of the journal */
	(void)ledger_append_draft(s, b, 0, 100, 0);
	(void)ledger_append(s, b, 1, 5, 50, 0);
	(void)ledger_append_draft(s, b, 7, 20000, WAL_APPEND_DURABLE);
	(void)ledger_append_draft(s, b, 7, 3000, 0);
	(void)ledger_append_draft(s, a, 0, 100, 0);
	(void)ledger_append_draft(s, a, 0, 100, 0);
	(void)ledger_append(s, a, 1, 5, 60, 0);
}

static void rotation(struct session *s)
{
	uint32_t a, b;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", &relaxed, &b);
	for (uint32_t n = 0; n < 10; n++) {
		(void)ledger_append(s, a, 1 + n % 3, 0, 900, 0);
		(void)ledger_append(s, b, 1 + n % 2, 0, 1200, n == 6 ? WAL_APPEND_DURABLE : 0);
	}
}

/* With a checkpoint between any two; then the journal goes round, with the checkpoints that it asks for. */
static void checkpoints(struct session *s)
{
	uint32_t a, b;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", &relaxed, &b);
	for (uint32_t n = 0; n < 4; n++) {
		(void)ledger_append(s, a, 1, 0, 1700, 0);
		(void)ledger_append(s, b, 1, 0, 1100, 0);
		(void)ledger_checkpoint(s);
	}
	(void)ledger_append(s, a, 1, 0, 100, 0);
}

static void journal_rounds(struct session *s)
{
	uint32_t a, b;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", NULL, &b);
	for (uint32_t n = 0; n < 60; n++)
		(void)ledger_append(s, n % 3 ? a : b, 1, 0, 3000 + 50 * n, 0);
}

static void reopenings(struct session *s)
{
	uint32_t a;

	(void)ledger_create(s, "a", NULL, &a);
	for (uint32_t n = 0; n < 4; n++) {
		(void)ledger_append(s, a, 1, 0, 300, 0);
		session_close(s);
		session_open(s);
		ledger_hold(s);
		(void)ledger_append(s, a, 2, 0, 200, 0);
	}
}

static void trims(struct session *s)
{
	uint32_t a, b;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", &relaxed, &b);
	for (uint32_t n = 0; n < 9; n++) {
		(void)ledger_append(s, a, 1, 0, 1300, 0);
		(void)ledger_append(s, b, 1, 0, 1300, 0);
		if (n % 3 == 2)
			(void)ledger_trim(s, n % 2 ? a : b, n, n == 5 ? WAL_TRIM_DURABLE : 0);
		if (n == 6)
			(void)ledger_sync_store(s);
	}
	(void)ledger_trim(s, a, ledger_next(s, a), 0);
	(void)ledger_trim(s, b, ledger_next(s, b), WAL_TRIM_DURABLE);
	(void)ledger_append(s, a, 1, 0, 100, 0);
	(void)ledger_append(s, b, 1, 0, 100, 0);
	(void)ledger_trim(s, b, ledger_next(s, b), 0);
	(void)ledger_checkpoint(s);
}

static void retention(struct session *s)
{
	static const struct wal_settings keep = { .retention_records = 6 };
	static const struct wal_settings keep_relaxed = { .durability = WAL_DURABILITY_RELAXED,
							  .retention_records = 5 };
	uint32_t a, b;

	(void)ledger_create(s, "a", &keep, &a);
	(void)ledger_create(s, "b", &keep_relaxed, &b);
	for (uint32_t n = 0; n < 12; n++) {
		(void)ledger_append(s, a, 1, 0, 1300, 0);
		(void)ledger_append(s, b, 1, 0, 1300, 0);
		if (n == 7)
			(void)ledger_sync_store(s);
	}
	(void)ledger_retain(s, a);
	(void)ledger_checkpoint(s);
}

static void creations(struct session *s)
{
	uint32_t a, b, c;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", &relaxed, &b);
	(void)ledger_append(s, b, 1, 0, 100, 0);
	(void)ledger_append(s, b, 1, 0, 100, WAL_APPEND_DURABLE);
	(void)ledger_create(s, "c", NULL, &c);
	(void)ledger_append(s, c, 1, 0, 100, 0);
	(void)ledger_checkpoint(s);
	(void)ledger_create(s, "d", &relaxed, &b);
	(void)ledger_append(s, c, 1, 0, 100, 0);
	(void)ledger_append(s, b, 1, 0, 100, 0);
}

/* Away and back, onto a name that was another's, in turn. */
static void renames(struct session *s)
{
	uint32_t a, b, c;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", &relaxed, &b);
	(void)ledger_append(s, a, 1, 0, 100, 0);
	(void)ledger_append(s, b, 1, 0, 100, 0);
	(void)ledger_rename(s, a, "t");
	(void)ledger_append(s, a, 1, 0, 100, 0);
	(void)ledger_rename(s, b, "a");
	(void)ledger_append(s, b, 1, 0, 100, 0);
	(void)ledger_rename(s, a, "b");
	(void)ledger_append(s, a, 1, 0, 100, 0);
	(void)ledger_create(s, "t", NULL, &c);
	(void)ledger_append(s, c, 1, 0, 100, 0);
	(void)ledger_checkpoint(s);
	(void)ledger_rename(s, c, "u");
	(void)ledger_rename(s, c, "t");
	(void)ledger_append(s, c, 1, 0, 100, 0);
}

static void deletions(struct session *s)
{
	uint32_t a, b, c;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", &relaxed, &b);
	(void)ledger_append(s, a, 1, 0, 3000, 0);
	(void)ledger_append(s, a, 1, 0, 3000, 0);
	(void)ledger_append(s, b, 1, 0, 100, 0);
	(void)ledger_delete(s, a);
	(void)ledger_create(s, "a", NULL, &c);
	(void)ledger_append(s, c, 1, 0, 100, 0);
	(void)ledger_delete(s, b);
	(void)ledger_rename(s, c, "b");
	(void)ledger_append(s, c, 1, 0, 100, 0);
	(void)ledger_checkpoint(s);
	(void)ledger_delete(s, c);
	(void)ledger_create(s, "b", &relaxed, &b);
	(void)ledger_append(s, b, 1, 0, 100, 0);
}

static void owners(struct session *s)
{
	uint32_t a, b;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", &relaxed, &b);
	for (uint32_t n = 0; n < 5; n++) {
		(void)ledger_set_attr(s, a);
		(void)ledger_append(s, a, 1, 0, 1500, 0);
		(void)ledger_set_attr(s, b);
		(void)ledger_append(s, b, 1, 0, 1500, 0);
		if (n == 2)
			(void)ledger_checkpoint(s);
	}
}

static void changes_of_mind(struct session *s)
{
	static const struct wal_settings none = { .durability = WAL_DURABILITY_DEFAULT };
	uint32_t a, b;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", &durable, &b);
	for (uint32_t n = 0; n < 3; n++) {
		(void)ledger_append(s, a, 2, 0, 700, 0);
		(void)ledger_set(s, a, &relaxed);
		(void)ledger_append(s, a, 2, 0, 900, 0);
		(void)ledger_set(s, b, n % 2 ? &durable : &relaxed);
		(void)ledger_append(s, b, 1, 0, 500, 0);
		(void)ledger_set(s, a, n == 1 ? &none : &durable);
		(void)ledger_append(s, a, 2, 0, 300, 0);
		(void)ledger_set_store(s, n % 2 ? &durable : &relaxed);
		(void)ledger_append(s, a, 1, 0, 300, 0);
		(void)ledger_append(s, b, 1, 0, 300, 0);
	}
}

/* Segments that are large enough for index files; these are a cache that nobody syncs. */
static void indexes(struct session *s)
{
	uint32_t a;

	(void)ledger_create(s, "a", &relaxed, &a);
	for (uint32_t n = 0; n < 20; n++)
		(void)ledger_append(s, a, 8, 0, 4300, n % 8 == 7 ? WAL_APPEND_DURABLE : 0);
}

/* A segment cannot be synced: its stream stops and is set aside, the others go on; the next opening has all of it again. */
static void set_aside(struct session *s)
{
	uint32_t a, b;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", NULL, &b);
	(void)ledger_append(s, a, 2, 0, 300, 0);
	(void)ledger_append(s, b, 1, 0, 300, 0);
	(void)ledger_checkpoint(s);
	(void)ledger_append(s, a, 2, 5, 200, 0);
	s->fail_ino = io_disk_ino(s->disk, "store/a/00000000000000000001.seg");
	s->faulty = true;
	(void)ledger_append(s, a, 1, 0, 100, 0);
	(void)ledger_checkpoint(s);
	(void)ledger_append(s, a, 1, 0, 100, 0);
	for (uint32_t n = 0; n < 14; n++)
		(void)ledger_append(s, b, 1, 0, 3500, 0);
	(void)ledger_checkpoint(s);
	(void)ledger_append(s, b, 1, 0, 100, 0);
	session_close(s);
	s->faulty = false;
	s->fail_ino = 0;
	session_open(s);
	ledger_hold(s);
	(void)ledger_append(s, a, 1, 0, 100, 0);
}

/* Writers at the same time, with the store's own threads: each to a stream of its own, and all to one. */
#define WRITERS 3
struct writer {
	struct session *s;
	uint32_t own, shared;
	uint8_t number;
};

static void *write_some(void *arg)
{
	const struct writer *w = arg;

	for (uint32_t n = 0; n < 14; n++) {
		(void)ledger_append_as(w->s, w->number, w->own, 1 + n % 3, n, 100 + 400 * (n % 4), 0);
		(void)ledger_append_as(w->s, w->number, w->shared, 1 + n % 2, 0, 300, n % 4 ? 0 : WAL_APPEND_DURABLE);
	}
	return NULL;
}

static void writers(struct session *s)
{
	static const char *const names[] = { "a", "b", "c" };
	struct writer writer[WRITERS];
	pthread_t threads[WRITERS];
	uint32_t shared;

	(void)ledger_create(s, "shared", NULL, &shared);
	for (uint8_t i = 0; i < WRITERS; i++) {
		writer[i] = (struct writer){ s, 0, shared, i };
		(void)ledger_create(s, names[i], i ? NULL : &relaxed, &writer[i].own);
	}
	for (int i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, write_some, &writer[i]), 0);
	for (int i = 0; i < WRITERS; i++)
		(void)pthread_join(threads[i], NULL);
}

/* Groups of several entries of the journal: changes of a relaxed stream, which wait for nothing, and then a durable record. */
static void groups(struct session *s)
{
	uint32_t a, b;

	(void)ledger_create(s, "a", NULL, &a);
	(void)ledger_create(s, "b", &relaxed, &b);
	for (uint32_t n = 0; n < 8; n++) {
		(void)ledger_set_attr(s, b);
		(void)ledger_set_attr(s, b);
		(void)ledger_set_attr(s, b);
		(void)ledger_append(s, a, 1, 0, LOSS_CONTENT, 0);
	}
}

static const struct loss_body bodies[] = {
	{ .name = "append", .body = append },
	{ .name = "append, relaxed", .body = append_relaxed },
	{ .name = "batches", .body = batches },
	{ .name = "batches, one segment", .body = batches, .segment_bytes = 1 << 20 },
	{ .name = "drafts", .body = drafts },
	{ .name = "rotation", .body = rotation },
	{ .name = "rotation, relaxed", .body = rotation, .relaxed = true },
	{ .name = "checkpoints", .body = checkpoints },
	{ .name = "rounds of the journal", .body = journal_rounds },
	{ .name = "rounds of the journal, one segment", .body = journal_rounds, .segment_bytes = 1 << 20 },
	{ .name = "reopenings", .body = reopenings },
	{ .name = "trims", .body = trims },
	{ .name = "retention", .body = retention },
	{ .name = "creations", .body = creations },
	{ .name = "creations, relaxed", .body = creations, .relaxed = true },
	{ .name = "renames", .body = renames },
	{ .name = "deletions", .body = deletions },
	{ .name = "owners", .body = owners },
	{ .name = "changes of mind", .body = changes_of_mind },
	{ .name = "indexes", .body = indexes, .segment_bytes = 300000, .seeds = 4 },
	{ .name = "groups", .body = groups, .seeds = 60, .fits = true },
	{ .name = "set aside", .body = set_aside },
	{ .name = "writers", .body = writers, .live = true, .seeds = 6 },
	{ .name = "writers, relaxed", .body = writers, .live = true, .relaxed = true, .seeds = 6 },
};

#define CASE(i)                            \
	static void walk_##i(void **state) \
	{                                  \
		(void)state;               \
		loss_walk(&bodies[i]);     \
	}
CASE(0)
CASE(1)
CASE(2)
CASE(3)
CASE(4)
CASE(5)
CASE(6)
CASE(7)
CASE(8)
CASE(9)
CASE(10)
CASE(11)
CASE(12)
CASE(13)
CASE(14)
CASE(15)
CASE(16)
CASE(17)
CASE(18)
CASE(19)
CASE(20)
CASE(21)
CASE(22)
CASE(23)
#define TEST(i)                                            \
	{                                                  \
		bodies[i].name, walk_##i, NULL, NULL, NULL \
	}

static int tell(void **state)
{
	(void)state;
	loss_tell();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(0),  TEST(1),  TEST(2),  TEST(3),  TEST(4),  TEST(5),  TEST(6),  TEST(7),
		TEST(8),  TEST(9),  TEST(10), TEST(11), TEST(12), TEST(13), TEST(14), TEST(15),
		TEST(16), TEST(17), TEST(18), TEST(19), TEST(20), TEST(21), TEST(22), TEST(23),
	};

	return cmocka_run_group_tests_name("crash_loss", tests, NULL, tell);
}
