/* SPDX-License-Identifier: MIT
 *
 * A window of WINDOW_NS lets LINES_MAX lines of clients through; the first line of a later window tells how many were
 * left out. Lines are formatted on the stack and written with one call, so that lines of two threads do not mix.
 */
#include "log.h"

#include "kernel.h"

#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#define WINDOW_NS (INT64_C(10) * 1000 * 1000 * 1000)
#define LINES_MAX 20
#define LINE_BYTES 1024

void walfs_log_init(struct walfs_log *log, bool debug)
{
	*log = (struct walfs_log){ .debug = debug };
	pthread_mutex_init(&log->lock, NULL);
}

void walfs_log_fini(struct walfs_log *log)
{
	pthread_mutex_destroy(&log->lock);
}

/* libfuse hands no object to its log function, and syslog needs none. */
__attribute__((format(printf, 2, 0))) static void libfuse_log(enum fuse_log_level level, const char *format, va_list ap)
{
	vsyslog((int)level, format, ap);
}

void walfs_log_to_syslog(struct walfs_log *log)
{
	openlog("walfs", LOG_PID, LOG_DAEMON);
	fuse_set_log_func(libfuse_log);
	log->syslog = true;
}

static void write_line(struct walfs_log *log, enum walfs_log_level level, const char *line)
{
	static const int priority[] = { LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG };
	static const char *const word[] = { "error: ", "warning: ", "", "debug: " };
	if (log->syslog) {
		syslog(priority[level], "%s%s", word[level], line);
		return;
	}
	char out[LINE_BYTES + 32];
	int n = snprintf(out, sizeof(out), "walfs: %s%s\n", word[level], line);
	(void)!write(STDERR_FILENO, out, (size_t)n); /* there is nowhere else to complain */
}

__attribute__((format(printf, 3, 0))) static void log_va(struct walfs_log *log, enum walfs_log_level level,
							 const char *format, va_list ap)
{
	char line[LINE_BYTES];
	vsnprintf(line, sizeof(line), format, ap);
	write_line(log, level, line);
}

void walfs_log(struct walfs_log *log, enum walfs_log_level level, const char *format, ...)
{
	if (level == WALFS_LOG_DEBUG && !log->debug)
		return;
	va_list ap;
	va_start(ap, format);
	log_va(log, level, format, ap);
	va_end(ap);
}

/* Is this line said? *ret_unsaid is how many before it were not. */
static bool let_through(struct walfs_log *log, uint64_t *ret_unsaid)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	int64_t now_ns = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
	bool said = false;

	pthread_mutex_lock(&log->lock);
	if (log->window_ns == 0 || now_ns - log->window_ns > WINDOW_NS) {
		log->window_ns = now_ns;
		log->said = 0;
	}
	if (log->said < LINES_MAX) {
		log->said++;
		*ret_unsaid = log->unsaid;
		log->unsaid = 0;
		said = true;
	} else {
		log->unsaid++;
	}
	pthread_mutex_unlock(&log->lock);
	return said;
}

void walfs_log_client(struct walfs_log *log, enum walfs_log_level level, const char *format, ...)
{
	uint64_t unsaid = 0;
	if ((level == WALFS_LOG_DEBUG && !log->debug) || !let_through(log, &unsaid))
		return;
	if (unsaid > 0)
		walfs_log(log, WALFS_LOG_WARNING, "messages left out count=%llu", (unsigned long long)unsaid);
	va_list ap;
	va_start(ap, format);
	log_va(log, level, format, ap);
	va_end(ap);
}
