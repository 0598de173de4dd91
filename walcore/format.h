/* SPDX-License-Identifier: MIT
 *
 * format: every constant of the bytes on disk. FORMAT.md has the tables; the two change together.
 */
#ifndef WAL_FORMAT_H
#define WAL_FORMAT_H

#include <assert.h>
#include <stdint.h>

#define WAL_FORMAT_VERSION 1
#define WAL_INDEX_VERSION 2 /* of the index files, a cache: another one is not read but written anew */
#define WAL_SECTOR 512

/* Names below the store's directory. */
#define WAL_DIR_META ".walfs"
#define WAL_FILE_STORE ".walfs/store"
#define WAL_FILE_JOURNAL ".walfs/journal"
#define WAL_FILE_LOCK ".walfs/lock"
#define WAL_DIR_DRAFTS ".walfs/drafts"
#define WAL_DIR_TRASH ".walfs/trash"
#define WAL_DIR_REPLAY ".walfs/replay"
#define WAL_DIR_ASIDE ".walfs/aside"
#define WAL_DIR_LOST ".walfs/lost"
#define WAL_SUFFIX_SEGMENT ".seg"
#define WAL_SUFFIX_INDEX ".idx"
#define WAL_SEQ_DIGITS 20

/* The first sector of the marker and of a segment; the two slots follow, a sector each. */
#define WAL_STORE_MAGIC "walstore"
#define WAL_SEGMENT_MAGIC "walsegmt"
#define WAL_SLOT_MAGIC "walslot\n"
#define WAL_INDEX_MAGIC "walindex"
#define WAL_ASIDE_MAGIC "walaside"
#define WAL_MAGIC_LEN 8
#define WAL_HEAD_VERSION 8   /* u16 */
#define WAL_HEAD_INCOMPAT 12 /* u16: an unknown bit: refuse */
#define WAL_HEAD_COMPAT 14   /* u16: an unknown bit: read, do not write */
#define WAL_HEAD_BODY 16
#define WAL_SECTOR_SUM 504 /* u64, over the 504 bytes before it */
#define WAL_HEAD_BYTES (3 * WAL_SECTOR)
#define WAL_SLOT_OFF(i) (WAL_SECTOR * (1 + (i)))

/* A record: frame, header, content, and where the content has more than one chunk, a sum for each chunk. */
#define WAL_FRAME_BYTES 36
#define WAL_FRAME_TYPE 0xA0 /* high bits of the flags byte; the low four are flags */
#define WAL_FRAME_TYPE_MASK 0xF0
#define WAL_FRAME_MORE 0x01 /* the batch goes on with the next record */

/* A journal entry. */
#define WAL_ENTRY_BYTES 64
#define WAL_ENTRY_ALIGN 8

/* What goes before the entries in a file of those set aside. */
#define WAL_ASIDE_HEAD 64

static_assert(WAL_HEAD_BYTES == 1536, "records begin at byte 1536");
static_assert((WAL_FRAME_TYPE & ~WAL_FRAME_TYPE_MASK) == 0, "type and flags do not overlap");
static_assert(WAL_ENTRY_BYTES % WAL_ENTRY_ALIGN == 0, "entries stay aligned");

#endif
