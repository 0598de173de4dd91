/* SPDX-License-Identifier: MIT
 *
 * A FIFO and at most THREADS_MAX threads. A thread is started when a job comes and no thread is idle; threads stay until
 * the end. Four are enough: what they wait for (a sync) is shared among all that wait, and appends do not come here at
 * all while the engine can take them without waiting.
 */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#define THREADS_MAX 4

struct worker {
	struct walfs_workers *workers;
	pthread_t thread;
	void *scratch; /* owned */
};

struct walfs_workers {
	pthread_mutex_t lock;
	pthread_cond_t wake;           /* a job came, or the end */
	pthread_cond_t calm;           /* nothing is queued or running */
	struct walfs_job *head, *tail; /* guarded by lock */
	unsigned n_queued;             /* guarded by lock */
	unsigned n_threads, n_idle;    /* guarded by lock */
	bool ending;                   /* guarded by lock */
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

static struct walfs_job *take_locked(struct walfs_workers *workers)
{
	struct walfs_job *job = workers->head;
	if (!job)
		return NULL;
	workers->head = job->next;
	if (!workers->head)
		workers->tail = NULL;
	workers->n_queued--;
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
			pthread_mutex_unlock(&workers->lock);
			job->run(job, self->scratch);
			pthread_mutex_lock(&workers->lock);
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

	job->next = NULL;
	pthread_mutex_lock(&workers->lock);
	if (workers->tail)
		workers->tail->next = job;
	else
		workers->head = job;
	workers->tail = job;
	workers->n_queued++;
	/* An idle thread that was woken but has not run yet still counts as idle: hence the comparison. */
	if (workers->n_queued > workers->n_idle && workers->n_threads < THREADS_MAX)
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
	while (workers->head || workers->n_idle < workers->n_threads)
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
