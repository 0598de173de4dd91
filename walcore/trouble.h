/* SPDX-License-Identifier: MIT
 *
 * trouble: what went wrong since the store was opened, for status displays: a bounded list; what is met
 * again is not noted again. Threads: any (a leaf lock of its own).
 */
#ifndef WAL_TROUBLE_H
#define WAL_TROUBLE_H

#include <pthread.h>
#include <walcore/walcore.h>

struct wal_trouble_item;

struct wal_troubles {
	pthread_mutex_t lock;
	struct wal_trouble_item *first, **end; /* guarded by lock */
	uint32_t n;                            /* guarded by lock */
	uint64_t met, met_damage, dropped;     /* guarded by lock */
};

void wal_troubles_init(struct wal_troubles *troubles);
void wal_troubles_fini(struct wal_troubles *troubles);
/* Copies the trouble. True where it is new. */
bool wal_troubles_add(struct wal_troubles *troubles, const struct wal_trouble *trouble);
void wal_troubles_tell(struct wal_troubles *troubles, wal_trouble_fn *fn, void *arg);
/* How many were met, and how many of them were damage. */
uint64_t wal_troubles_met(struct wal_troubles *troubles, uint64_t *ret_damage);

#endif
