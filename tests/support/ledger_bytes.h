/* SPDX-License-Identifier: MIT
 *
 * ledger_bytes: header and content of the ledger's records. A content begins with the place of its ask in the ledger, so that what
 * is found tells what it claims to be; the rest follows from that place. Threads: any.
 */
#ifndef TESTS_SUPPORT_LEDGER_BYTES_H
#define TESTS_SUPPORT_LEDGER_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LEDGER_CONTENT_MIN 8

void ledger_fill_header(uint8_t *out, size_t len, uint32_t ask);
void ledger_fill_content(uint8_t *out, size_t len, uint32_t ask);
/* The ask that a content claims; -1 where it claims none. */
int64_t ledger_claim(const uint8_t *content, size_t len);
bool ledger_is_header(const uint8_t *bytes, size_t len, uint32_t ask);
bool ledger_is_content(const uint8_t *bytes, size_t len, uint32_t ask);

#endif
