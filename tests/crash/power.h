/* SPDX-License-Identifier: MIT
 *
 * power: what a power failure takes from the segments of stream "s": all that no sync has covered. And a disk that does not
 * sync them.
 *
 * Threads: one store at a time.
 */
#ifndef TESTS_CRASH_POWER_H
#define TESTS_CRASH_POWER_H

#include "kit.h"

/* From now on syncs are noted, beginning with all that is in the files now. The kit's, until its kit_fini. */
void power_watch(struct kit *kit);
/* All that is in the files now is on disk. */
void power_note(void);
/* How much of the segment is. */
uint64_t power_synced(uint64_t first);
/* Syncs of these segments fail from now on, or no more. */
void power_fail_syncs(bool fail);
/* What no sync covered goes. */
void power_lose(void);
/* Another stream, "other", fills the journal until a checkpoint has begun and ended. False: its appends fail. */
bool power_checkpoint(void);

#endif
