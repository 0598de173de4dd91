/* SPDX-License-Identifier: MIT
 *
 * Torn is cut, damaged is kept: each row of the table in FORMAT.md.
 */
#include "kit.h"

#include <fcntl.h>
#include <unistd.h>

#include "segment.h"

static struct kit kit;
static struct wal_stream *stream;
static char path[512];

#define TEXT_LEN 100
#define RECORD_LEN (36 + TEXT_LEN)
#define RECORD_OFF(seq) (1536 + ((seq)-1) * RECORD_LEN)

static const char *text_of(uint64_t seq)
{
	static char text[TEXT_LEN + 1];

	(void)snprintf(text, sizeof(text), "%0*llu", TEXT_LEN, (unsigned long long)seq);
	return text;
}

static void append_to(uint64_t last)
{
	for (uint64_t seq = kit_stat(stream).next; seq <= last; seq++)
		assert_int_equal(kit_append(stream, text_of(seq)), seq);
}

static void open_it(void)
{
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
}

static void close_it(void)
{
	wal_stream_unref(stream);
	kit_close(&kit);
}

static void crash_it(void)
{
	wal_stream_unref(stream);
	kit_crash(&kit);
}

/* Relaxed, so that the journal brings nothing back; the first five records are below the mark. */
static int setup(void **state)
{
	(void)state;
	kit_init(&kit);
	kit.opts.flags |= WAL_OPEN_RELAXED;
	open_it();
	append_to(5);
	close_it();
	kit_segment(&kit, "s", 1, path);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kit_fini(&kit);
	return 0;
}

/* Those up to `last` are there, all but `bad`. */
static void all_but(uint64_t bad, uint64_t last)
{
	assert_int_equal(kit_stat(stream).next, last + 1);
	for (uint64_t seq = 1; seq <= last; seq++) {
		if (seq == bad)
			assert_int_equal(kit_read_error(stream, seq), -EBADMSG);
		else
			kit_expect_text(stream, seq, text_of(seq));
	}
}

static void torn_tail(void **state)
{
	(void)state;
	for (uint64_t cut = 1; cut < RECORD_LEN; cut += 15) {
		open_it();
		append_to(8);
		crash_it();
		file_cut(path, RECORD_OFF(8) + cut);
		open_it();
		all_but(0, 7);
		assert_int_equal(kit_troubles(&kit), 0); /* quietly */
		assert_int_equal(kit_verify(&kit), 0);
		append_to(8);
		all_but(0, 8);
		crash_it();
		file_cut(path, RECORD_OFF(6));
	}
}

/* Garbage above the mark: cut there, with what comes behind it. */
static void torn_middle(void **state)
{
	(void)state;
	open_it();
	append_to(9);
	crash_it();
	file_flip(path, RECORD_OFF(7) + 50, 1);
	open_it();
	all_but(0, 6);
	assert_int_equal(file_size(path), RECORD_OFF(7));
	append_to(9);
	all_but(0, 9);
	close_it();
}

static void torn_zeros(void **state)
{
	(void)state;
	open_it();
	append_to(9);
	crash_it();
	file_zero(path, RECORD_OFF(8), 2 * RECORD_LEN);
	open_it();
	all_but(0, 7);
	close_it();
}

/* Below the mark: only that one is gone, its number stays. A frame, a content; then the same after another opening. */
static void damaged_below(void **state)
{
	uint64_t last = 5;

	(void)state;
	for (uint64_t at = 8; at < RECORD_LEN; at += 60, last++) {
		file_flip(path, RECORD_OFF(3) + at, 1);
		for (int again = 0; again < 2; again++) {
			uint64_t size = file_size(path);

			open_it();
			all_but(3, last + (uint64_t)again);
			assert_int_equal(file_size(path), size);
			assert_true(kit_verify(&kit) > 0);
			append_to(last + 1);
			all_but(3, last + 1);
			assert_true(kit_troubles(&kit) > 0);
			close_it();
		}
		file_flip(path, RECORD_OFF(3) + at, 1);
		open_it();
		all_but(0, last + 1);
		close_it();
	}
}

/* The end, below the mark: missing, and the numbers stay used. */
static void missing_tail(void **state)
{
	(void)state;
	file_cut(path, RECORD_OFF(4) + 10);
	for (uint64_t last = 5; last < 8; last++) {
		open_it();
		assert_int_equal(kit_stat(stream).next, last + 1);
		assert_int_equal(kit_read_error(stream, 4), -EBADMSG);
		assert_int_equal(kit_read_error(stream, 5), -EBADMSG);
		kit_expect_text(stream, 3, text_of(3));
		append_to(last + 1);
		kit_expect_text(stream, last + 1, text_of(last + 1));
		close_it();
	}
}

static void torn_batch(void **state)
{
	struct wal_entry entries[4];
	struct wal_append req = { .entries = entries, .n = 4 };

	(void)state;
	open_it();
	append_to(6);
	for (int i = 0; i < 4; i++)
		entries[i] = (struct wal_entry){ { NULL, 0 }, KEY("batch") };
	assert_int_equal(wal_append(stream, &req), 0);
	crash_it();
	file_cut(path, file_size(path) - 1);
	open_it();
	all_but(0, 6);
	append_to(7);
	all_but(0, 7);
	close_it();
}

/* A head that one sector of is damaged is made up for. */
static void damaged_head(void **state)
{
	(void)state;
	file_flip(path, 20, 1);
	open_it();
	all_but(0, 5);
	close_it();
	file_flip(path, 20, 1);
}

/* All of the newest head is: what comes before it can be read, what is in it keeps its numbers, nothing is changed, and all of it is
 * there when the head is. */
static void headless(void **state)
{
	uint8_t head[1536], bad[1536];
	char newest[512] = "", next[512];
	uint64_t first = 1, size;

	(void)state;
	kit.opts.segment_bytes = 4096;
	open_it();
	append_to(80);
	close_it();
	for (uint64_t i = 2; i <= 80; i++) {
		if (!file_exists(kit_segment(&kit, "s", i, next)))
			continue;
		first = i;
		memcpy(newest, next, sizeof(next));
	}
	assert_in_range(first, 20, 80);
	size = file_size(newest);
	file_read(newest, 0, head, sizeof(head));
	memset(bad, 0x5a, sizeof(bad));
	file_write(newest, 0, bad, sizeof(bad));
	for (int i = 0; i < 2; i++) {
		open_it();
		assert_int_equal(kit_stat(stream).next, 81);
		for (uint64_t seq = 1; seq < first; seq++)
			kit_expect_text(stream, seq, text_of(seq));
		for (uint64_t seq = first; seq <= 80; seq++)
			assert_int_equal(kit_read_error(stream, seq), -EBADMSG);
		assert_true(kit_stat(stream).stopped);
		assert_true(kit_troubles(&kit) > 0);
		assert_int_equal(kit_put(stream, KEY(""), KEY("x"), 0, NULL), -EROFS);
		wal_stream_unref(stream);
		stream = kit_stream(&kit, "t");
		assert_int_equal(kit_append(stream, "another"), 1 + (uint64_t)i);
		close_it();
		assert_int_equal(file_size(newest), size);
	}
	file_write(newest, 0, head, sizeof(head));
	open_it();
	all_but(0, 80);
	append_to(85);
	all_but(0, 85);
	close_it();
}

static void missing_segment(void **state)
{
	char victim[512];

	(void)state;
	kit.opts.segment_bytes = 4096;
	open_it();
	append_to(80);
	close_it();
	for (uint64_t first = 2; first < 80; first++)
		if (file_exists(kit_segment(&kit, "s", first, victim)))
			break;
	assert_int_equal(remove(victim), 0);
	open_it();
	assert_int_equal(kit_stat(stream).next, 81);
	kit_expect_text(stream, 1, text_of(1));
	kit_expect_text(stream, 80, text_of(80));
	assert_int_equal(kit_read_error(stream, 20), -EBADMSG);
	assert_true(kit_verify(&kit) > 0);
	append_to(81);
	close_it();
}

/* A newest segment without a head that was never on disk. */
static void torn_newest(void **state)
{
	char newest[512];

	(void)state;
	for (int garbage = 0; garbage < 2; garbage++) {
		kit_segment(&kit, "s", 6, newest);
		fclose(fopen(newest, "w"));
		file_cut(newest, garbage ? 700 : 0);
		open_it();
		all_but(0, 5);
		assert_int_equal(kit_troubles(&kit), 0);
		close_it();
	}
}

/* The index is a cache: wrong, or gone, it is made anew. */
static void index_lost(void **state)
{
	char idx[512];

	(void)state;
	for (int how = 0; how < 3; how++) {
		open_it();
		kit.opts.segment_bytes = 512 * 1024;
		close_it();
		open_it();
		append_to(5000);
		close_it();
		(void)snprintf(idx, sizeof(idx), "%s/s/%020d.idx", kit.dir, 1);
		if (file_exists(idx)) {
			if (how == 0)
				file_flip(idx, 100, 4);
			else if (how == 1)
				file_cut(idx, 70);
			else
				assert_int_equal(remove(idx), 0);
		}
		open_it();
		all_but(0, 5000);
		close_it();
	}
}

/* A head that says what cannot be: nothing that is computed from it ends the process. */
static void spoil_head(bool position)
{
	static const struct wal_settings age = { .retention_age_ns = 1000 };
	struct wal_slot slot;
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(wal_segment_read_head(&wal_io_posix, fd, &slot), 0);
	slot.gen += 2;
	slot.id.time_base = slot.id.created_ns = INT64_MIN;
	slot.id.pos = INT64_MAX;
	if (!position) {
		slot.mark_next = 20;
		slot.mark_off = INT64_MAX;
	}
	assert_int_equal(wal_segment_write_head(&wal_io_posix, fd, &slot), 0);
	close(fd);
	open_it();
	(void)wal_stream_set_settings(stream, &age);
	for (int i = 0; i < 3; i++)
		assert_true(kit_put(stream, KEY(""), KEY("more"), 0, NULL) <= 0);
	(void)wal_retain(stream);
	wal_stream_unref(stream);
	(void)wal_store_close(kit.store);
	kit.store = NULL;
}

static void wild_position(void **state)
{
	(void)state;
	spoil_head(true);
}

static void wild_mark(void **state)
{
	(void)state;
	spoil_head(false);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(torn_tail),  CASE(torn_middle),   CASE(torn_zeros),      CASE(damaged_below), CASE(missing_tail),
		CASE(torn_batch), CASE(damaged_head),  CASE(missing_segment), CASE(torn_newest),   CASE(index_lost),
		CASE(headless),   CASE(wild_position), CASE(wild_mark),
	};

	return cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
}
