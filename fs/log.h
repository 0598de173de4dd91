/* SPDX-License-Identifier: MIT
 *
 * The daemon's log: one line per event, `message key=value ...`, to stderr in the foreground and to syslog else.
 * Invariant: what a client can provoke (WALFS_LOG_CLIENT) writes a bounded number of lines per time, and says how many
 * it left out.
 *
 * Threads: any, but for walfs_log_init and walfs_log_to_syslog: before others run.
 */
#ifndef WALFS_LOG_H
#define WALFS_LOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

enum walfs_log_level {
	WALFS_LOG_ERROR,
	WALFS_LOG_WARNING,
	WALFS_LOG_INFO,
	WALFS_LOG_DEBUG, /* free: nothing is formatted unless debug is on */
};

struct walfs_log {
	bool debug;
	bool syslog;
	pthread_mutex_t lock;
	int64_t window_ns; /* guarded by lock: when the running window began */
	uint32_t said;     /* guarded by lock: client lines in it */
	uint64_t unsaid;   /* guarded by lock: client lines left out since the last that was said */
};

void walfs_log_init(struct walfs_log *log, bool debug);
void walfs_log_fini(struct walfs_log *log);

/* From now on to syslog, and libfuse's own messages with it. */
void walfs_log_to_syslog(struct walfs_log *log);

void walfs_log(struct walfs_log *log, enum walfs_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* The same for what a client can provoke: rate-limited. */
void walfs_log_client(struct walfs_log *log, enum walfs_log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
