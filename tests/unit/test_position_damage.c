/* SPDX-License-Identifier: MIT
 *
 * Positions and damage: whatever is spoiled of a record, and whenever, the bytes of all others stay where they were, its own
 * are refused, and nobody gets past them unawares.
 */
#include "contents.h"

#include <unistd.h>

#include "record.h"

static struct contents *c;

static int setup(void **state)
{
	(void)state;
	c = contents_new(400000); /* large enough for index files */
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	contents_free(c);
	return 0;
}

static void fill(uint64_t records, bool headers)
{
	c->random = 5;
	while (c->next <= records)
		contents_append(c, 1 + (uint32_t)contents_draw(c, 30), headers ? (uint32_t)contents_draw(c, 100) : 0,
				contents_draw(c, 300));
}

/* ---- what is spoiled ------------------------------------------------------------------------------------ */

static const char *const hows[] = {
	"a byte of the frame's sum",
	"a byte of the content's sum",
	"a byte of the time",
	"the number",
	"the content length",
	"the type",
	"the header length",
	"a byte of the header",
	"a byte of the content",
	"the frame",
	"all of it",
	"all of it and half of the next",
};
#define HOWS (sizeof(hows) / sizeof(*hows))

/* Returns how many records are gone by it; 0: it does not apply. */
static unsigned spoil(uint64_t seq, size_t how)
{
	static const uint64_t offs[] = { 1, 9, 17, 24, 28, 33, 34, 36 };
	uint64_t header_len = c->header_len[seq], len = contents_len(c, seq);
	uint64_t all = wal_record_len(header_len, len);
	char path[512];
	uint64_t off = contents_off(c, seq, path);

	if (how < 7)
		file_flip(path, off + offs[how], 0x41);
	else if (how == 7 && header_len > 0)
		file_flip(path, off + 36 + header_len / 2, 1);
	else if (how == 8 && len > 0)
		file_flip(path, off + 36 + header_len + len / 2, 1);
	else if (how == 9)
		file_zero(path, off, 36);
	else if (how == 10)
		file_zero(path, off, all);
	else if (how == 11 && off + all < file_size(path))
		file_zero(path, off, all + 30);
	else
		return 0;
	return how == 11 ? 2 : 1;
}

/* ---- what must hold ------------------------------------------------------------------------------------- */

/* Reads all in pieces, passing each byte that cannot be read, as dd conv=noerror,sync of that block size would. Nothing but
 * the n records from seq on may be missing, and all of them. */
static void expect_all_but(uint64_t seq, unsigned n, size_t piece)
{
	uint64_t from = c->pos[seq], to = c->pos[seq + n], missing = 0;

	for (uint64_t pos = contents_begin(c); pos < contents_end(c);) {
		ssize_t got = wal_read_range(c->stream, pos, c->buf, piece, 0);

		if (got == -EBADMSG) {
			assert_true(from <= pos && pos < to);
			missing++;
			pos++;
			continue;
		}
		assert_true(got > 0);
		assert_true(pos + (uint64_t)got <= from || pos >= to);
		contents_expect_bytes(c->buf, pos, (size_t)got);
		pos += (uint64_t)got;
	}
	assert_int_equal(missing, to - from);
}

static void expect_places_but(uint64_t seq, unsigned n)
{
	uint64_t got = 0, off = 0;

	for (uint64_t i = c->first; i <= c->next; i++)
		if (i <= seq || i >= seq + n)
			contents_expect_tell(c, i);
	for (uint64_t pos = c->pos[seq]; pos < c->pos[seq + n]; pos++) {
		assert_int_equal(wal_locate(c->stream, pos, 0, &got, &off), 0);
		assert_in_range(got, seq, seq + n - 1);
	}
	contents_expect_place(c, c->pos[seq] - 1);
	if (c->pos[seq + n] < contents_end(c))
		contents_expect_place(c, c->pos[seq + n]);
}

enum when { WHILE_OPEN, BEFORE_OPEN, WITHOUT_INDEX };

/* Spoils, looks, and heals a record. lengths: only where the frame's lengths stand. */
static void spoil_and_look(uint64_t seq, enum when when, bool lengths)
{
	uint8_t bytes[2000];
	char path[512], index[512];
	uint64_t off = contents_off(c, seq, path), left = file_size(path) - off;
	uint64_t len = left < sizeof(bytes) ? left : sizeof(bytes);

	memcpy(index, path, sizeof(path));
	memcpy(strstr(index, ".seg"), ".idx", 4);
	file_read(path, off, bytes, len);
	for (size_t how = 0; how < HOWS; how++) {
		unsigned n;

		if (lengths && (how == 3 || how == 4 || how == 5 || how == 6 || how > 8))
			continue;
		if (when == WHILE_OPEN)
			contents_expect_tell(c, seq); /* its index is in memory */
		else
			contents_close(c);
		n = spoil(seq, how);
		if (when == WITHOUT_INDEX && file_exists(index))
			assert_int_equal(unlink(index), 0);
		if (when != WHILE_OPEN)
			contents_open(c);
		print_message("# record %llu: %s%s\n", (unsigned long long)seq, hows[how], n ? "" : ": not there");
		if (n > 0) {
			expect_all_but(seq, n, 10000);
			expect_all_but(seq, n, 61);
			expect_places_but(seq, n);
			if (c->pos[seq + n] > c->pos[seq])
				assert_true(kit_troubles(&c->kit) > 0);
		}
		file_write(path, off, bytes, len);
	}
	contents_close(c);
	contents_open(c);
	contents_expect_all(c, 100000);
}

static uint64_t next_segment(uint64_t seq)
{
	char path[512];

	for (seq++; !file_exists(kit_segment(&c->kit, "s", seq, path)); seq++)
		assert_true(seq < c->next);
	return seq;
}

/* First, last and others of a sealed segment. */
static void sealed(enum when when, bool headers)
{
	uint64_t second, third;

	fill(6000, headers);
	second = next_segment(1);
	third = next_segment(second);
	spoil_and_look(second - 1, when, false);
	spoil_and_look(second, when, false);
	spoil_and_look(second + 777, when, false);
	spoil_and_look(third - 2, when, false);
	spoil_and_look(1, when, false);
}

static void sealed_open(void **state)
{
	(void)state;
	sealed(WHILE_OPEN, true);
}

static void sealed_indexed(void **state)
{
	(void)state;
	sealed(BEFORE_OPEN, true);
}

static void sealed_without_index(void **state)
{
	(void)state;
	sealed(WITHOUT_INDEX, true);
}

/* Where nothing else knows, the frame does; or, without headers, the room there is. */
static void last(enum when when, bool headers)
{
	fill(700, headers);
	spoil_and_look(1, when, false);
	spoil_and_look(300, when, false);
	spoil_and_look(c->next - 2, when, false);
}

static void last_open(void **state)
{
	(void)state;
	last(WHILE_OPEN, true);
}

static void last_recovered(void **state)
{
	(void)state;
	last(BEFORE_OPEN, false);
}

static void last_recovered_headers(void **state)
{
	(void)state;
	fill(700, true);
	spoil_and_look(1, BEFORE_OPEN, true);
	spoil_and_look(300, BEFORE_OPEN, true);
	spoil_and_look(c->next - 2, BEFORE_OPEN, true);
}

/* All records but those that are gone are read, in order, by what wal_tell says; in between is at least a byte that is not. */
static void expect_each_but(uint64_t seq, unsigned n)
{
	uint64_t pos = 0, at = 0;

	assert_int_equal(wal_tell(c->stream, c->first, 0, &at), 0);
	for (uint64_t i = c->first; i < c->next; i++) {
		uint64_t len = contents_len(c, i);

		if (i == seq) {
			uint64_t behind;

			assert_int_equal(wal_tell(c->stream, seq + n, 0, &behind), 0);
			assert_true(behind > at);
			for (; at < behind; at++)
				assert_int_equal(wal_read_range(c->stream, at, c->buf, 10, 0), -EBADMSG);
			i += n - 1;
			continue;
		}
		assert_int_equal(wal_tell(c->stream, i, 0, &pos), 0);
		assert_int_equal(pos, at);
		assert_true(wal_read_range(c->stream, pos, c->buf, len, 0) == (ssize_t)len);
		contents_expect_bytes(c->buf, c->pos[i], len);
		at += len;
	}
	assert_int_equal(kit_stat(c->stream).end_pos, at);
}

/* The last segment, with headers, recovered after the frame was lost: nobody knows how much content it had. */
static void unknown(void **state)
{
	uint64_t size;
	unsigned n;

	(void)state;
	fill(700, true);
	contents_close(c);
	n = spoil(300, 11);
	contents_open(c);
	expect_each_but(300, n);
	size = kit_stat(c->stream).end_pos;
	contents_close(c);
	contents_open(c);
	assert_int_equal(kit_stat(c->stream).end_pos, size);
	expect_each_but(300, n);
	/* Segments that come later count from there: it stays so. */
	while (c->next < 4000)
		contents_append(c, 10, 20, contents_draw(c, 300));
	expect_each_but(300, n);
	contents_close(c);
	contents_open(c);
	expect_each_but(300, n);
}

/* Two that are lost in one stretch, and a third behind them: the first ones have what is left for them. */
static void several(void **state)
{
	static const uint64_t seqs[] = { 2000, 2005, 2010 };
	uint64_t pos, missing = 0;

	(void)state;
	fill(6000, true);
	contents_close(c);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(spoil(seqs[i], 9), 1);
	contents_open(c);
	for (uint64_t seq = 1; seq < c->next; seq++) {
		bool lost = seq == seqs[0] || seq == seqs[1] || seq == seqs[2];
		uint64_t len = contents_len(c, seq);

		assert_int_equal(wal_tell(c->stream, seq, 0, &pos), 0);
		if (seq <= seqs[0] || seq > seqs[2])
			assert_int_equal(pos, c->pos[seq]);
		if (lost)
			continue;
		assert_true(wal_read_range(c->stream, pos, c->buf, len, 0) == (ssize_t)len);
		contents_expect_bytes(c->buf, c->pos[seq], len);
	}
	for (pos = 0; pos < contents_end(c);) {
		ssize_t got = wal_read_range(c->stream, pos, c->buf, 5000, 0);

		missing += got == -EBADMSG;
		assert_true(got > 0 || got == -EBADMSG);
		pos += got > 0 ? (uint64_t)got : 1;
	}
	assert_int_equal(missing, contents_len(c, seqs[0]) + contents_len(c, seqs[1]) + contents_len(c, seqs[2]));
}

/* A segment file that is gone, that has no head, or that is cut short. */
static void no_segment(void **state)
{
	uint64_t second, third;
	char path[512], index[512];

	(void)state;
	fill(6000, true);
	second = next_segment(1);
	third = next_segment(second);
	(void)kit_segment(&c->kit, "s", second, path);
	for (int how = 0; how < 3; how++) {
		uint64_t from = second, size = file_size(path);
		uint8_t *bytes = malloc(size);

		assert_non_null(bytes);
		contents_close(c);
		file_read(path, 0, bytes, size);
		if (how == 0) {
			(void)snprintf(index, sizeof(index), "%s/away", c->kit.dir);
			assert_int_equal(rename(path, index), 0);
		} else if (how == 1) {
			file_zero(path, 0, 1536);
		} else {
			from = second + 500;
			file_cut(path, contents_off(c, from, index) + 3);
		}
		contents_open(c);
		expect_all_but(from, (unsigned)(third - from), 10000);
		expect_places_but(from, (unsigned)(third - from));
		contents_close(c);
		if (how == 0)
			assert_int_equal(rename(index, path), 0);
		file_write(path, 0, bytes, size);
		contents_open(c);
		contents_expect_all(c, 100000);
		free(bytes);
	}
}

/* The oldest segment file is gone: what comes first is a byte that cannot be read. */
static void no_head(void **state)
{
	uint64_t second, pos = 0, seq, off;
	char path[512];

	(void)state;
	fill(6000, true);
	second = next_segment(1);
	contents_trim(c, 10);
	contents_close(c);
	assert_int_equal(unlink(kit_segment(&c->kit, "s", 1, path)), 0);
	contents_open(c);
	assert_int_equal(wal_tell(c->stream, 9, 0, &pos), -EIDRM);
	assert_int_equal(wal_tell(c->stream, 10, 0, &pos), 0);
	assert_int_equal(pos, c->pos[second] - 1);
	assert_int_equal(wal_locate(c->stream, pos, 0, &seq, &off), 0);
	assert_int_equal(seq, 10);
	assert_int_equal(wal_read_range(c->stream, pos, c->buf, 1000, 0), -EBADMSG);
	assert_int_equal(wal_read_range(c->stream, pos - 1, c->buf, 1000, 0), -EIDRM);
	contents_trim(c, second);
	contents_expect_all(c, 100000);
}

/* A read that fails is an error, and moves nothing. */
static void read_faults(void **state)
{
	(void)state;
	fill(6000, true);
	contents_append(c, 0, 5, 300000);
	contents_append(c, 5, 5, 300);
	for (uint64_t n = 1;; n++) {
		uint64_t from = contents_draw(c, contents_end(c)), len = 200000;
		bool fired;
		ssize_t got;

		io_fault_arm(&c->kit.fault, IO_FAIL, IO_READ, n % 16 + 1, -EIO);
		got = wal_read_range(c->stream, from, c->buf, len, 0);
		fired = io_fault_fired(&c->kit.fault);
		io_fault_disarm(&c->kit.fault);
		if (got >= 0)
			contents_expect_bytes(c->buf, from, (size_t)got);
		else
			assert_true(fired && got == -EIO);
		if (n > 200)
			break;
		if (n % 20 == 0) {
			contents_close(c);
			contents_open(c);
		}
	}
	contents_close(c);
	contents_open(c);
	contents_expect_all(c, 100000);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(sealed_open), CASE(sealed_indexed), CASE(sealed_without_index),
		CASE(last_open),   CASE(last_recovered), CASE(last_recovered_headers),
		CASE(unknown),     CASE(several),        CASE(no_segment),
		CASE(no_head),     CASE(read_faults),
	};

	return cmocka_run_group_tests_name("position_damage", tests, NULL, NULL);
}
