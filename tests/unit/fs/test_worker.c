/* SPDX-License-Identifier: MIT
 *
 * Workers: every job runs once, and a user whose jobs do not end holds up nobody else.
 */
#include "worker.h"

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "run.h"

enum { MANY = 100, THREADS = 8 };

struct task {
	struct walfs_job job; /* first: cast to it */
	bool waits;           /* for the gate */
};

static struct {
	pthread_mutex_t lock;
	pthread_cond_t opened;
	bool open;
} gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false };

static atomic_uint n_begun[16], n_ended[16]; /* by user */

static void run_task(struct walfs_job *job, void *scratch)
{
	struct task *task = (struct task *)job;
	uint32_t uid = job->uid;

	assert_non_null(scratch);
	atomic_fetch_add(&n_begun[uid], 1);
	pthread_mutex_lock(&gate.lock);
	while (task->waits && !gate.open)
		pthread_cond_wait(&gate.opened, &gate.lock);
	pthread_mutex_unlock(&gate.lock);
	free(task);
	atomic_fetch_add(&n_ended[uid], 1);
}

static void give(struct walfs_workers *workers, uint32_t uid, bool waits)
{
	struct task *task = calloc(1, sizeof(*task));

	assert_non_null(task);
	task->job.run = run_task;
	task->job.uid = uid;
	task->waits = waits;
	walfs_workers_give(workers, &task->job);
}

static void set_gate(bool open)
{
	pthread_mutex_lock(&gate.lock);
	gate.open = open;
	pthread_cond_broadcast(&gate.opened);
	pthread_mutex_unlock(&gate.lock);
}

static int setup(void **state)
{
	struct walfs_workers *workers;

	for (unsigned i = 0; i < 16; i++) {
		atomic_store(&n_begun[i], 0);
		atomic_store(&n_ended[i], 0);
	}
	set_gate(false);
	assert_int_equal(walfs_workers_open(&workers), 0);
	*state = workers;
	return 0;
}

static void wait_for(atomic_uint *count, unsigned want)
{
	double deadline = deadline_after(20);

	while (atomic_load(count) < want)
		if (!deadline_pause(deadline))
			fail_msg("%u, not %u", atomic_load(count), want);
	assert_int_equal(atomic_load(count), want);
}

static void one_user(void **state)
{
	struct walfs_workers *workers = *state;

	for (unsigned i = 0; i < MANY; i++)
		give(workers, 1, true);
	wait_for(&n_begun[1], THREADS / 2);
	/* Others find threads, one after another, however many jobs the first has. */
	for (uint32_t uid = 2; uid < 10; uid++) {
		give(workers, uid, false);
		wait_for(&n_ended[uid], 1);
	}
	for (unsigned i = 0; i < MANY; i++)
		give(workers, 2, i == 0);
	wait_for(&n_ended[2], MANY); /* all but the one that waits */
	assert_int_equal(atomic_load(&n_begun[1]), THREADS / 2);
	set_gate(true);
	walfs_workers_drain(workers);
	assert_int_equal(atomic_load(&n_ended[1]), MANY);
	assert_int_equal(atomic_load(&n_ended[2]), MANY + 1);
	walfs_workers_close(workers);
}

/* All that can be done to take the threads away: each user has his share of what the ones before him left. */
static void several_users(void **state)
{
	static const unsigned share[] = { 0, 4, 2, 1, 1, 0, 0 };
	struct walfs_workers *workers = *state;

	for (uint32_t uid = 1; uid <= 6; uid++) {
		for (unsigned i = 0; i < MANY; i++)
			give(workers, uid, true);
		wait_for(&n_begun[uid], share[uid]);
	}
	for (uint32_t uid = 1; uid <= 6; uid++)
		assert_int_equal(atomic_load(&n_begun[uid]), share[uid]);
	set_gate(true);
	walfs_workers_close(workers); /* runs what is left */
	for (uint32_t uid = 1; uid <= 6; uid++)
		assert_int_equal(atomic_load(&n_ended[uid]), MANY);
}

static void *give_some(void *arg)
{
	for (unsigned i = 0; i < 10000; i++)
		give(arg, i % 7, false);
	return NULL;
}

static void from_many_threads(void **state)
{
	struct walfs_workers *workers = *state;
	pthread_t threads[4];
	unsigned n = 0;

	set_gate(true);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, give_some, workers), 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	walfs_workers_drain(workers);
	for (unsigned i = 0; i < 7; i++)
		n += atomic_load(&n_ended[i]);
	assert_int_equal(n, 40000);
	walfs_workers_close(workers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(one_user, setup),
		cmocka_unit_test_setup(several_users, setup),
		cmocka_unit_test_setup(from_many_threads, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
