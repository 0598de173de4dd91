/* SPDX-License-Identifier: MIT
 *
 * Calls that must not wait do not, while another thread is held in a call to the system that has the stream's lock: a
 * recovery, an append, a rename.
 */
#include "kit.h"

#include <pthread.h>
#include <semaphore.h>
#include <unistd.h>

#include "io.h"

/* The system calls, one kind of which can be held. */
static struct gate {
	struct wal_io io;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool hold_read, hold_write, hold_rename, hold_sync, hold_journal;
	unsigned held, allowed;
} gate = { .lock = PTHREAD_MUTEX_INITIALIZER, .cond = PTHREAD_COND_INITIALIZER };

static void pass(const bool *hold)
{
	pthread_mutex_lock(&gate.lock);
	gate.held += *hold;
	pthread_cond_broadcast(&gate.cond);
	while (*hold && gate.allowed == 0)
		pthread_cond_wait(&gate.cond, &gate.lock);
	gate.allowed -= *hold;
	pthread_mutex_unlock(&gate.lock);
}

static ssize_t gate_pread(const struct wal_io *io, int fd, void *buf, size_t len, uint64_t off, bool nowait)
{
	(void)io;
	pass(&gate.hold_read);
	return wal_io_posix.pread(&wal_io_posix, fd, buf, len, off, nowait);
}

static ssize_t gate_pwrite(const struct wal_io *io, int fd, const void *buf, size_t len, uint64_t off)
{
	(void)io;
	pass(&gate.hold_write);
	return wal_io_posix.pwrite(&wal_io_posix, fd, buf, len, off);
}

static int gate_renameat(const struct wal_io *io, int dirfd, const char *from, const char *to, bool replace)
{
	(void)io;
	pass(&gate.hold_rename);
	return wal_io_posix.renameat(&wal_io_posix, dirfd, from, to, replace);
}

/* The journal's, or another one. */
static int gate_fdatasync(const struct wal_io *io, int fd)
{
	struct stat st;

	(void)io;
	if (fstat(fd, &st) == 0)
		pass(st.st_size == 65536 ? &gate.hold_journal : &gate.hold_sync);
	return 0;
}

static void hold(bool *what)
{
	pthread_mutex_lock(&gate.lock);
	gate.held = 0;
	*what = true;
	pthread_mutex_unlock(&gate.lock);
}

static void until_held(void)
{
	pthread_mutex_lock(&gate.lock);
	while (gate.held == 0)
		pthread_cond_wait(&gate.cond, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
}

/* Lets one of those that are held go on, and waits for the next to be held. */
static void let_one_go(void)
{
	pthread_mutex_lock(&gate.lock);
	gate.held = 0;
	gate.allowed = 1;
	pthread_cond_broadcast(&gate.cond);
	pthread_mutex_unlock(&gate.lock);
	until_held();
}

static void let_go(bool *what)
{
	pthread_mutex_lock(&gate.lock);
	*what = false;
	pthread_cond_broadcast(&gate.cond);
	pthread_mutex_unlock(&gate.lock);
}

static struct kit kit;
static struct wal_stream *stream, *other;

static int setup(void **state)
{
	(void)state;
	kit_init(&kit);
	gate.io = wal_io_posix;
	gate.io.pread = gate_pread;
	gate.io.pwrite = gate_pwrite;
	gate.io.renameat = gate_renameat;
	gate.io.fdatasync = gate_fdatasync;
	kit.opts.io = &gate.io;
	kit_open(&kit);
	stream = kit_stream(&kit, "s");
	other = kit_stream(&kit, "other");
	for (int i = 0; i < 10; i++)
		(void)kit_append(stream, "text");
	(void)kit_append(other, "text");
	(void)alarm(50); /* a call that waits here waits for ever */
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	wal_stream_unref(stream);
	wal_stream_unref(other);
	kit_fini(&kit);
	(void)alarm(0);
	return 0;
}

static void appended(struct wal_append *req, int result)
{
	assert_int_equal(result, 0);
	sem_post(req->arg);
}

/* None of these waits, whoever has the lock. What needs it is -EAGAIN. */
static void ask(bool recovered)
{
	struct wal_entry entry = { .content = KEY("text") };
	struct wal_append req = { .entries = &entry, .n = 1, .flags = WAL_APPEND_NOWAIT, .done = appended };
	struct wal_settings settings;
	struct wal_record *record;
	struct wal_stream *again;
	struct wal_info info;
	struct wal_stat stat;
	uint64_t seq, off;
	char buf[256];

	assert_int_equal(wal_stream_stat(stream, WAL_STAT_CHEAP, &stat), 0);
	assert_int_equal(stat.recovered, recovered);
	assert_int_equal(stat.attr.uid, 1000);
	assert_true(stat.durable);
	assert_int_equal(stat.next, recovered ? 11 : 0);
	assert_int_equal(wal_stream_stat(stream, WAL_NOWAIT, &stat), recovered ? 0 : -EAGAIN);
	assert_int_equal(wal_stream_get_settings(stream, &settings), 0);
	assert_int_equal(wal_append_check(stream), 0);
	assert_int_equal(wal_max_record(stream), UINT64_C(1) << 30);
	assert_int_equal(wal_stream_key(stream, buf), 1);
	assert_int_equal(wal_reserve(stream, 1000, WAL_NOWAIT), 0);
	wal_release(stream, 1000);
	assert_int_equal(wal_append_submit(stream, &req), -EAGAIN);
	assert_int_equal(wal_record_info(stream, 1, WAL_NOWAIT, &info), -EAGAIN);
	assert_int_equal(wal_record_open(stream, 1, WAL_NOWAIT, &record), -EAGAIN);
	assert_int_equal(wal_read(stream, 1, 0, buf, sizeof(buf), WAL_NOWAIT), -EAGAIN);
	assert_int_equal(wal_read_header(stream, 1, 0, buf, sizeof(buf), WAL_NOWAIT), -EAGAIN);
	assert_int_equal(wal_tell(stream, 1, WAL_NOWAIT, &seq), -EAGAIN);
	assert_int_equal(wal_locate(stream, 1, WAL_NOWAIT, &seq, &off), -EAGAIN);
	assert_int_equal(wal_read_range(stream, 0, buf, sizeof(buf), WAL_NOWAIT), -EAGAIN);
	assert_int_equal(wal_stream_open(kit.store, KEY("s"), &again), 0);
	assert_ptr_equal(again, stream);
	wal_stream_unref(again);
}

static void told(struct wal_wait *wait, int result)
{
	*(int *)wait->arg = result;
}

static void ask_waits(void)
{
	int result = 9;
	struct wal_wait wait = { .seq = 20, .done = told, .arg = &result };

	assert_int_equal(wal_wait_submit(stream, &wait), 0);
	assert_int_equal(wal_wait_cancel(&wait), 0);
	wait.seq = 5;
	assert_int_equal(wal_wait_submit(stream, &wait), 1);
	assert_int_equal(result, 9);
}

static void *read_one(void *arg)
{
	kit_expect_text(arg, 1, "text");
	return NULL;
}

static void recovery(void **state)
{
	pthread_t thread;

	(void)state;
	wal_stream_unref(stream);
	wal_stream_unref(other);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	other = kit_stream(&kit, "other");
	hold(&gate.hold_read);
	assert_int_equal(pthread_create(&thread, NULL, read_one, stream), 0);
	until_held();
	ask(false);
	let_go(&gate.hold_read);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(kit_stat(stream).next, 11);
}

static void *append_one(void *arg)
{
	(void)kit_append(arg, "text");
	return NULL;
}

static void append(void **state)
{
	struct wal_record *record;
	pthread_t thread;
	char buf[10];

	(void)state;
	assert_int_equal(wal_record_open(stream, 1, 0, &record), 0);
	hold(&gate.hold_write);
	assert_int_equal(pthread_create(&thread, NULL, append_one, stream), 0);
	until_held();
	ask(true);
	ask_waits();
	assert_int_equal(wal_record_read(record, 0, buf, sizeof(buf), WAL_NOWAIT), -EAGAIN);
	wal_record_close(record);
	let_go(&gate.hold_write);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(kit_stat(stream).next, 12);
	ask_waits();
}

static void *rename_it(void *arg)
{
	assert_int_equal(wal_stream_rename(arg, KEY("renamed")), 0);
	return NULL;
}

static void renamed(void **state)
{
	struct wal_stream *found;
	struct wal_store_stat stat;
	pthread_t thread;
	char key[256];

	(void)state;
	hold(&gate.hold_rename);
	assert_int_equal(pthread_create(&thread, NULL, rename_it, stream), 0);
	until_held();
	ask(true);
	ask_waits();
	assert_int_equal(wal_stream_open(kit.store, KEY("other"), &found), 0);
	wal_stream_unref(found);
	kit_expect_text(other, 1, "text");
	assert_int_equal(kit_append(other, "more"), 2);
	assert_int_equal(wal_store_stat(kit.store, &stat), 0);
	assert_int_equal(stat.handles, 2);
	let_go(&gate.hold_rename);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(wal_stream_key(stream, key), 7);
	assert_string_equal(key, "renamed");
	assert_int_equal(wal_stream_open(kit.store, KEY("s"), &found), -ENOENT);
	assert_int_equal(wal_stream_open(kit.store, KEY("renamed"), &found), 0);
	assert_ptr_equal(found, stream);
	wal_stream_unref(found);
}

/* The store's settings go to every stream: the one that is being recovered holds up none of the others. */
static void *set_all(void *arg)
{
	struct wal_settings settings = { .max_record = 1 << 30 };

	(void)arg;
	assert_int_equal(wal_store_set_settings(kit.store, &settings), 0);
	return NULL;
}

static void settings(void **state)
{
	pthread_t thread, setter;

	(void)state;
	wal_stream_unref(stream);
	wal_stream_unref(other);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	other = kit_stream(&kit, "other");
	kit_expect_text(other, 1, "text");
	hold(&gate.hold_read);
	assert_int_equal(pthread_create(&thread, NULL, read_one, stream), 0);
	until_held();
	assert_int_equal(pthread_create(&setter, NULL, set_all, NULL), 0);
	for (int i = 0; i < 200; i++) { /* somewhere among these it waits for the lock of the one */
		ask(false);
		assert_int_equal(kit_append(other, "more"), i + 2);
	}
	let_go(&gate.hold_read);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(pthread_join(setter, NULL), 0);
}

/* WAL_APPEND_NOWAIT: what must wait is refused, and nothing happened. */
static int submit(struct wal_span content, uint32_t flags, struct wal_draft *draft)
{
	struct wal_entry entry = { .content = content };
	struct wal_append req = {
		.entries = &entry, .n = 1, .flags = flags | WAL_APPEND_NOWAIT, .draft = draft, .done = appended
	};
	sem_t sem;
	int r;

	assert_int_equal(sem_init(&sem, 0, 0), 0);
	req.arg = &sem;
	r = wal_append_submit(stream, &req);
	while (r == 0 && sem_wait(&sem) < 0)
		;
	(void)sem_destroy(&sem);
	return r;
}

static void appends(void **state)
{
	struct wal_settings relaxed = { .durability = WAL_DURABILITY_RELAXED };
	uint8_t *bytes = kit_bytes(100000, 1);
	struct wal_draft *draft;

	(void)state;
	assert_int_equal(submit(KEY("text"), 0, NULL), 0);
	assert_int_equal(submit((struct wal_span){ bytes, 100000 }, 0, NULL), -EAGAIN);
	assert_int_equal(wal_draft_open(stream, (struct wal_span){ NULL, 0 }, &draft), 0);
	assert_int_equal(wal_draft_write(draft, "draft", 5), 0);
	assert_int_equal(submit(KEY(""), 0, draft), -EAGAIN);
	wal_draft_abort(draft);
	assert_int_equal(kit_stat(stream).next, 12);
	assert_int_equal(wal_stream_set_settings(stream, &relaxed), 0);
	assert_int_equal(submit(KEY("text"), WAL_APPEND_DURABLE, NULL), -EAGAIN);
	assert_int_equal(kit_stat(stream).next, 12);
	assert_int_equal(submit((struct wal_span){ bytes, 100000 }, 0, NULL), 1);
	assert_int_equal(kit_stat(stream).next, 13);
	wal_stream_unref(stream);
	wal_stream_unref(other);
	kit_reopen(&kit);
	stream = kit_stream(&kit, "s");
	other = kit_stream(&kit, "other");
	assert_int_equal(submit(KEY("text"), 0, NULL), -EAGAIN);
	assert_int_equal(kit_stat(stream).next, 13);
	assert_int_equal(submit(KEY("text"), 0, NULL), 1);
	free(bytes);
}

/* The journal has no room left, and its checkpoint is held: an append that must not wait says so. */
static void journal_full(void **state)
{
	uint8_t *bytes = kit_bytes(4000, 1);
	int r, n = 0;

	(void)state;
	hold(&gate.hold_sync);
	do
		r = submit((struct wal_span){ bytes, 4000 }, 0, NULL);
	while (r == 0 && n++ < 1000);
	assert_int_equal(r, -EAGAIN);
	let_go(&gate.hold_sync);
	assert_int_equal(kit_put(stream, (struct wal_span){ NULL, 0 }, (struct wal_span){ bytes, 4000 }, 0, NULL), 0);
	free(bytes);
}

/* Two appends under way: the first one is there, and the second is not, nor does it count. */
static void half_committed(void **state)
{
	struct wal_entry entry[2] = { { .content = KEY("first") }, { .content = KEY("the second") } };
	struct wal_append req[2] = { { 0 }, { 0 } };
	uint64_t end = kit_stat(stream).end_pos, pos;
	sem_t sem[2];

	(void)state;
	hold(&gate.hold_journal);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(sem_init(&sem[i], 0, 0), 0);
		req[i] = (struct wal_append){ .entries = &entry[i], .n = 1, .done = appended, .arg = &sem[i] };
		assert_int_equal(wal_append_submit(stream, &req[i]), 0);
		until_held();
		assert_int_equal(kit_stat(stream).next, 11);
		assert_int_equal(kit_stat(stream).end_pos, end);
		assert_int_equal(wal_tell(stream, 12, 0, &pos), -ENOENT);
	}
	let_one_go();
	assert_int_equal(kit_stat(stream).next, 12);
	assert_int_equal(kit_stat(stream).end_pos, end + 5);
	assert_int_equal(wal_tell(stream, 12, 0, &pos), 0);
	assert_int_equal(pos, end + 5);
	let_go(&gate.hold_journal);
	for (int i = 0; i < 2; i++) {
		while (sem_wait(&sem[i]) < 0)
			;
		(void)sem_destroy(&sem[i]);
	}
	assert_int_equal(kit_stat(stream).end_pos, end + 15);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(recovery), CASE(append),       CASE(renamed),        CASE(settings),
		CASE(appends),  CASE(journal_full), CASE(half_committed),
	};

	return cmocka_run_group_tests_name("nowait", tests, NULL, NULL);
}
