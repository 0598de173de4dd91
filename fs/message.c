/* SPDX-License-Identifier: MIT
 *
 * An empty line is a newline at the beginning, or behind another one.
 */
#include "message.h"

#include <errno.h>
#include <string.h>

bool walfs_message_fits(struct wal_span header)
{
	const char *text = header.base;
	if (header.len == 0)
		return true;
	return text[0] != '\n' && text[header.len - 1] == '\n' && !memmem(text, header.len, "\n\n", 2);
}

ssize_t walfs_message_empty_line(const char *text, size_t len, bool newline)
{
	if (newline && len > 0 && text[0] == '\n')
		return 0;
	const char *at = memmem(text, len, "\n\n", 2);
	return at ? at + 1 - text : -ENOENT;
}
