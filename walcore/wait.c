/* SPDX-License-Identifier: MIT
 *
 * wait: for a record to come. Waits hang on the stream's handle, not on its live part, so that thousands of streams can be
 * waited for with few of them live.
 */
#include <assert.h>
#include <errno.h>
#include <time.h>

#include "banned.h"
#include "stream.h"

int wal_wait_submit(struct wal_stream *stream, struct wal_wait *wait)
{
	struct wal_board *board = &stream->board;
	struct wal_stat stat;
	int r;

	assert(wait->done);
	r = wal_stream_stat(stream, 0, &stat); /* from here on the board has the figures */
	if (r < 0)
		return r;
	pthread_mutex_lock(&board->lock);
	r = stream->deleted ? -EIDRM : wait->seq < board->stat.next;
	if (r == 0) {
		wait->stream = stream;
		wait->next = board->waits;
		wait->prev = &board->waits;
		if (wait->next)
			wait->next->prev = &wait->next;
		board->waits = wait;
		board->n_waits++;
		atomic_fetch_add_explicit(&stream->store->waits, 1, memory_order_relaxed);
	}
	pthread_mutex_unlock(&board->lock);
	return r;
}

int wal_wait_cancel(struct wal_wait *wait)
{
	struct wal_stream *stream = wait->stream;
	int r = -ENOENT;

	pthread_mutex_lock(&stream->board.lock);
	if (wait->prev) {
		*wait->prev = wait->next;
		if (wait->next)
			wait->next->prev = wait->prev;
		wait->prev = NULL;
		stream->board.n_waits--;
		atomic_fetch_sub_explicit(&stream->store->waits, 1, memory_order_relaxed);
		r = 0;
	}
	pthread_mutex_unlock(&stream->board.lock);
	return r;
}

struct blocked {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool told;
	int result;
};

static void tell(struct wal_wait *wait, int result)
{
	struct blocked *blocked = wait->arg;

	pthread_mutex_lock(&blocked->lock);
	blocked->told = true;
	blocked->result = result;
	pthread_cond_signal(&blocked->cond);
	pthread_mutex_unlock(&blocked->lock);
}

int wal_wait(struct wal_stream *stream, uint64_t seq, int64_t timeout_ns)
{
	struct blocked blocked = { .told = false };
	struct wal_wait wait = { .seq = seq, .done = tell, .arg = &blocked };
	struct timespec deadline;
	int r;

	pthread_mutex_init(&blocked.lock, NULL);
	pthread_cond_init(&blocked.cond, NULL);
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += timeout_ns / 1000000000 + (deadline.tv_nsec + timeout_ns % 1000000000) / 1000000000;
	deadline.tv_nsec = (deadline.tv_nsec + timeout_ns % 1000000000) % 1000000000;
	r = wal_wait_submit(stream, &wait);
	if (r == 0) {
		int timed = 0;

		pthread_mutex_lock(&blocked.lock);
		while (!blocked.told && timed != ETIMEDOUT)
			timed = timeout_ns < 0 ? pthread_cond_wait(&blocked.cond, &blocked.lock)
					       : pthread_cond_clockwait(&blocked.cond, &blocked.lock, CLOCK_MONOTONIC,
									&deadline);
		pthread_mutex_unlock(&blocked.lock);
		if (timed == ETIMEDOUT && wal_wait_cancel(&wait) == 0) {
			r = -ETIMEDOUT;
		} else {
			pthread_mutex_lock(&blocked.lock); /* told, or about to be */
			while (!blocked.told)
				pthread_cond_wait(&blocked.cond, &blocked.lock);
			r = blocked.result;
			pthread_mutex_unlock(&blocked.lock);
		}
	}
	pthread_cond_destroy(&blocked.cond);
	pthread_mutex_destroy(&blocked.lock);
	return r < 0 ? r : 0;
}
