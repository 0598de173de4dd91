/* SPDX-License-Identifier: MIT
 *
 * An empty line is a newline at the beginning, or behind another one.
 */
#include "message.h"

#include <string.h>

bool walfs_message_fits(struct wal_span header)
{
	const char *text = header.base;
	if (header.len == 0)
		return true;
	return text[0] != '\n' && text[header.len - 1] == '\n' && !memmem(text, header.len, "\n\n", 2);
}
