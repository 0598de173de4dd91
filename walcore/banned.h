/* SPDX-License-Identifier: MIT
 *
 * banned: functions that are mistakes waiting to happen; using one does not compile.
 */
#ifndef WAL_BANNED_H
#define WAL_BANNED_H

/* Their declarations must come first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma GCC poison sprintf vsprintf strcpy strcat strncpy strncat strtok atoi atol gets

#endif
