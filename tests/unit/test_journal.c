/* SPDX-License-Identifier: MIT
 *
 * Entries and the ring of them: what an earlier epoch, an earlier round or a torn write left is never taken for one.
 */
#include "kit.h"

#include <fcntl.h>
#include <unistd.h>

#include "journal.h"

#define RING 65536

static const uint8_t uuid[16] = "a store";

static size_t seal(uint8_t *bytes, uint64_t lsn, const char *payload, uint64_t seed)
{
	struct wal_journal_entry entry = { .lsn = lsn,
					   .type = WAL_ENTRY_APPEND,
					   .stream_id = 3,
					   .seq = 9,
					   .n = 1,
					   .payload_len = (uint32_t)strlen(payload) };

	entry.len = (uint32_t)wal_entry_len(entry.payload_len);
	memcpy(bytes + WAL_ENTRY_BYTES, payload, strlen(payload));
	wal_entry_seal(bytes, &entry, seed);
	return entry.len;
}

static int check(const uint8_t *bytes, uint64_t lsn, uint64_t seed)
{
	struct wal_journal_entry entry;
	int r = wal_entry_peek(bytes, lsn, &entry);

	if (r == 0 && entry.len > 4096)
		r = -EBADMSG;
	return r < 0 ? r : wal_entry_check(bytes, &entry, seed);
}

static void entries(void **state)
{
	static uint8_t bytes[8192], zeros[WAL_ENTRY_BYTES];
	uint64_t seed = wal_entry_seed(uuid, 5);
	size_t len = seal(bytes, 800, "payload", seed);

	(void)state;
	assert_int_equal(len % WAL_ENTRY_ALIGN, 0);
	assert_int_equal(check(bytes, 800, seed), 0);
	assert_int_equal(check(bytes, 808, seed), -EBADMSG);
	assert_int_equal(check(bytes, 800 + RING, seed), -EBADMSG);
	assert_int_equal(check(bytes, 800, wal_entry_seed(uuid, 4)), -EBADMSG);
	assert_int_equal(check(bytes, 800, wal_entry_seed((const uint8_t *)"another store...", 5)), -EBADMSG);
	assert_int_equal(check(zeros, 0, seed), -EBADMSG);
	for (size_t bit = 0; bit < 8 * len; bit++) {
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(check(bytes, 800, seed), -EBADMSG);
		bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
}

static int count(void *arg, const struct wal_journal_entry *entry, const uint8_t *payload)
{
	assert_memory_equal(payload, "entry", 5);
	assert_int_equal(entry->stream_id, 3);
	return ++*(int *)arg < 0;
}

static int scan(const char *path, uint64_t from, uint64_t seed, uint64_t *ret_end)
{
	int fd = open(path, O_RDONLY), n = 0;

	assert_int_equal(wal_journal_scan(&wal_io_posix, fd, RING, seed, from, count, &n, ret_end), 0);
	close(fd);
	return n;
}

static void put_at(const char *path, uint64_t lsn, const uint8_t *bytes, size_t len)
{
	size_t first = RING - lsn % RING;

	if (first > len)
		first = len;
	file_write(path, lsn % RING, bytes, first);
	if (first < len)
		file_write(path, 0, bytes + first, len - first);
}

static void ring(void **state)
{
	uint64_t seed = wal_entry_seed(uuid, 5), from = 3 * RING + 65000, lsn = from, end = 0;
	char dir[TMPDIR_MAX], path[256], text[400] = "entry";
	static uint8_t bytes[1024];
	size_t len = 0;
	int fd;

	(void)state;
	tmpdir_make(dir);
	(void)snprintf(path, sizeof(path), "%s/ring", dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	assert_int_equal(ftruncate(fd, RING), 0);
	close(fd);
	memset(text + 5, 'x', 300);
	len = seal(bytes, lsn - RING, text, seed); /* of the round before, at the same place: not this one's */
	put_at(path, lsn, bytes, len);
	assert_int_equal(scan(path, from, seed, &end), 0);
	assert_int_equal(end, from);
	for (int i = 0; i < 8; i++, lsn += len) { /* over the end of the file */
		len = seal(bytes, lsn, text, seed);
		put_at(path, lsn, bytes, len);
	}
	len = seal(bytes, lsn, text, wal_entry_seed(uuid, 4)); /* an earlier epoch's */
	put_at(path, lsn, bytes, len);
	assert_int_equal(scan(path, from, seed, &end), 8);
	assert_int_equal(end, lsn);
	text[300] = 'y';
	len = seal(bytes, lsn, text, seed);
	put_at(path, lsn, bytes, len / 2); /* torn */
	assert_int_equal(scan(path, from, seed, &end), 8);
	put_at(path, lsn, bytes, len);
	assert_int_equal(scan(path, from, seed, &end), 9);
	tmpdir_remove(dir);
}

/* A full round and more, with checkpoints; then what is left is replayed. */
static void rounds(void **state)
{
	static char text[3000];
	struct wal_store_stat stat;
	struct wal_stream *stream;
	struct kit kit;

	(void)state;
	memset(text, 'r', sizeof(text) - 1);
	kit_init(&kit);
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	for (uint64_t i = 1; i <= 100; i++)
		assert_int_equal(kit_append(stream, text), i);
	assert_int_equal(wal_store_stat(kit.store, &stat), 0);
	assert_true(stat.checkpoints >= 4);
	assert_int_equal(stat.journal_bytes, RING);
	assert_true(stat.journal_used <= RING);
	wal_stream_unref(stream);
	kit_crash(&kit);
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	for (uint64_t i = 1; i <= 100; i++)
		kit_expect_text(stream, i, text);
	assert_int_equal(kit_stat(stream).next, 101);
	wal_stream_unref(stream);
	kit_fini(&kit);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries),
		cmocka_unit_test(ring),
		cmocka_unit_test(rounds),
	};

	return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
