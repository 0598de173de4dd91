/* SPDX-License-Identifier: MIT
 *
 * annotate: what clang's -Wthread-safety and the printf checks need to know; nothing to other compilers.
 */
#ifndef WAL_ANNOTATE_H
#define WAL_ANNOTATE_H

#define WAL_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#endif
