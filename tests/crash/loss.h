/* SPDX-License-Identifier: MIT
 *
 * loss: the loop of the power loss tests. A body runs once, on a disk in memory; before each of its calls that change something, and
 * at its end, the power is lost, several times over with different seeds, and each time what is left is opened and held to the
 * ledger. What follows an opening, the replay first of all, is interrupted in the same way, again and again.
 *
 * A failure is told with the body, the call, the seed, and what became of each change that no sync had covered. LOSS_CALL and
 * LOSS_SEED (with WALFS_TEST_FILTER) try that state alone. LOSS_SEEDS: how many seeds for each call; LOSS_LONG: the long form.
 */
#ifndef TESTS_CRASH_LOSS_H
#define TESTS_CRASH_LOSS_H

#include "ledger.h"

/* Bytes of an entry with a slot; and the content of a record whose entry, with that which binds a name of one letter, has as many. */
#define LOSS_ENTRY 576
#define LOSS_CONTENT (LOSS_ENTRY - 72 - 64 - 36)

struct loss_body {
	const char *name;
	void (*body)(struct session *s); /* the store is open; it may be closed when it ends */
	uint64_t segment_bytes;          /* 0: 4,096 */
	uint32_t seeds;                  /* of each call, in the short form; 0: 12 */
	bool relaxed;
	bool fits; /* what follows an opening is one record whose entry ends where one with a slot did that may have been torn */
	bool live; /* with the store's own threads, and others */
};

/* Runs it; the test fails where a power loss broke a promise. Prints how many states were tried. */
void loss_walk(const struct loss_body *body);
/* Prints how many in all walks. */
void loss_tell(void);

#endif
