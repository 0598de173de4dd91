/* SPDX-License-Identifier: MIT
 *
 * A queue for each user who has jobs, and at most THREADS_MAX threads. A thread is started when a job can start and no
 * thread is idle; threads stay until the end. A few are enough: what they wait for (a sync) is shared among all that wait, and
 * appends do not come here at all while the engine can take them without waiting.
 *
 * Users take turns. A user's job starts while fewer of his are running than threads are left: one user alone has half of
 * them, and whoever comes finds one. So a user whose jobs are slow (large drafts, cold reads) holds up himself.
 *
 * The queues need no memory of their own: the first job of each stands for it.
 */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#define THREADS_MAX 8

struct worker {
	struct walfs_workers *workers;
	pthread_t thread;
	void *scratch; /* owned */
	bool runs;     /* guarded by workers->lock: a job of uid */
	uint32_t uid;  /* guarded by workers->lock */
};

struct walfs_workers {
	pthread_mutex_t lock;
	pthread_cond_t wake; /* a job came, or the end */
	pthread_cond_t calm; /* nothing is queued or running */
	struct walfs_job
		*users;    /* guarded by lock: the first jobs of those who have some, in the order of their turns */
	unsigned n_queued; /* guarded by lock */
	unsigned n_threads, n_idle; /* guarded by lock */
	bool ending;                /* guarded by lock */
	struct worker threads[THREADS_MAX];
	void *spare; /* owned: for the loop, where it must do a job itself */
};

int walfs_workers_open(struct walfs_workers **ret_workers)
{
	struct walfs_workers *workers = calloc(1, sizeof(*workers));
	if (!workers)
		return -ENOMEM;
	workers->spare = malloc(WALFS_SCRATCH_BYTES);
	if (!workers->spare) {
		free(workers);
		return -ENOMEM;
	}
	pthread_mutex_init(&workers->lock, NULL);
	pthread_cond_init(&workers->wake, NULL);
	pthread_cond_init(&workers->calm, NULL);
	*ret_workers = workers;
	return 0;
}

static bool may_start_locked(const struct walfs_workers *workers, uint32_t uid)
{
	unsigned his = 0, all = 0;
	for (unsigned i = 0; i < workers->n_threads; i++) {
		all += workers->threads[i].runs;
		his += workers->threads[i].runs && workers->threads[i].uid == uid;
	}
	return his < THREADS_MAX - all;
}

/* Where the first job is linked of the next user who may start one; what it leads to is NULL where there is none. */
static struct walfs_job **startable_locked(struct walfs_workers *workers)
{
	struct walfs_job **at = &workers->users;
	while (*at && !may_start_locked(workers, (*at)->uid))
		at = &(*at)->next_user;
	return at;
}

static void append_user_locked(struct walfs_workers *workers, struct walfs_job *first)
{
	struct walfs_job **at = &workers->users;
	while (*at)
		at = &(*at)->next_user;
	first->next_user = NULL;
	*at = first;
}

static void queue_locked(struct walfs_workers *workers, struct walfs_job *job)
{
	struct walfs_job *first = workers->users;
	while (first && first->uid != job->uid)
		first = first->next_user;
	job->next = NULL;
	workers->n_queued++;
	if (first) {
		first->last->next = job;
		first->last = job;
		return;
	}
	job->last = job;
	append_user_locked(workers, job);
}

/* The job whose turn it is. Its user's next one goes to the end of the line. */
static struct walfs_job *take_locked(struct walfs_workers *workers)
{
	struct walfs_job **at = startable_locked(workers), *job = *at, *next;
	if (!job)
		return NULL;
	*at = job->next_user;
	workers->n_queued--;
	next = job->next;
	if (next) {
		next->last = job->last;
		append_user_locked(workers, next);
	}
	return job;
}

static void *work(void *arg)
{
	struct worker *self = arg;
	struct walfs_workers *workers = self->workers;

	pthread_mutex_lock(&workers->lock);
	for (;;) {
		struct walfs_job *job = take_locked(workers);
		if (job) {
			self->runs = true;
			self->uid = job->uid;
			/* What ended may have let more than one job start. */
			if (workers->n_idle > 0 && *startable_locked(workers))
				pthread_cond_signal(&workers->wake);
			pthread_mutex_unlock(&workers->lock);
			job->run(job, self->scratch);
			pthread_mutex_lock(&workers->lock);
			self->runs = false;
			continue;
		}
		workers->n_idle++;
		if (workers->n_idle == workers->n_threads)
			pthread_cond_broadcast(&workers->calm);
		if (workers->ending)
			break;
		pthread_cond_wait(&workers->wake, &workers->lock);
		workers->n_idle--;
	}
	pthread_mutex_unlock(&workers->lock);
	return NULL;
}

/* Signals are the main thread's. */
static int start_locked(struct walfs_workers *workers)
{
	struct worker *worker = &workers->threads[workers->n_threads];
	worker->workers = workers;
	worker->scratch = malloc(WALFS_SCRATCH_BYTES);
	if (!worker->scratch)
		return -ENOMEM;

	sigset_t all, before;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int err = pthread_create(&worker->thread, NULL, work, worker);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (err) {
		free(worker->scratch);
		return -err;
	}
	workers->n_threads++;
	return 0;
}

void walfs_workers_give(struct walfs_workers *workers, struct walfs_job *job)
{
	struct walfs_job *mine = NULL;

	pthread_mutex_lock(&workers->lock);
	queue_locked(workers, job);
	/* An idle thread that was woken but has not run yet still counts as idle: hence the comparison. */
	if (workers->n_queued > workers->n_idle && workers->n_threads < THREADS_MAX && *startable_locked(workers))
		(void)start_locked(workers); /* the threads there are will come to it */
	if (workers->n_threads == 0)
		mine = take_locked(workers);
	else
		pthread_cond_signal(&workers->wake);
	pthread_mutex_unlock(&workers->lock);

	if (mine)
		mine->run(mine, workers->spare);
}

void walfs_workers_drain(struct walfs_workers *workers)
{
	pthread_mutex_lock(&workers->lock);
	while (workers->users || workers->n_idle < workers->n_threads)
		pthread_cond_wait(&workers->calm, &workers->lock);
	pthread_mutex_unlock(&workers->lock);
}

void walfs_workers_close(struct walfs_workers *workers)
{
	if (!workers)
		return;
	pthread_mutex_lock(&workers->lock);
	workers->ending = true;
	pthread_cond_broadcast(&workers->wake);
	pthread_mutex_unlock(&workers->lock);
	for (unsigned i = 0; i < workers->n_threads; i++) {
		pthread_join(workers->threads[i].thread, NULL);
		free(workers->threads[i].scratch);
	}
	free(workers->spare);
	pthread_cond_destroy(&workers->calm);
	pthread_cond_destroy(&workers->wake);
	pthread_mutex_destroy(&workers->lock);
	free(workers);
}
