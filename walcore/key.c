/* SPDX-License-Identifier: MIT */
#include "key.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "banned.h"

static const char hex_digits[] = "0123456789ABCDEF";

static bool must_escape(unsigned char c, size_t at)
{
	return c == '/' || c == '%' || c < 0x20 || c == 0x7f || (c == '.' && at == 0);
}

int wal_key_to_name(struct wal_span key, char name[WAL_NAME_MAX + 1])
{
	const unsigned char *in = key.base;
	char out[WAL_NAME_MAX + 1];
	size_t len = 0;

	if (key.len == 0 || memchr(in, 0, key.len))
		return -EINVAL;
	for (size_t i = 0; i < key.len; i++) {
		bool escape = must_escape(in[i], i);

		if (len + (escape ? 3 : 1) > WAL_NAME_MAX)
			return -EMSGSIZE;
		if (!escape) {
			out[len++] = (char)in[i];
			continue;
		}
		out[len++] = '%';
		out[len++] = hex_digits[in[i] >> 4];
		out[len++] = hex_digits[in[i] & 15];
	}
	out[len] = '\0';
	if (strcmp(out, "lost+found") == 0) /* mkfs makes one at the root of a disk */
		return -EINVAL;
	memcpy(name, out, len + 1);
	return (int)len;
}

static int hex_value(char c)
{
	const char *p = c ? strchr(hex_digits, c) : NULL;

	return p ? (int)(p - hex_digits) : -1;
}

int wal_key_from_name(const char *name, char key[WAL_KEY_MAX + 1])
{
	char out[WAL_KEY_MAX + 1], again[WAL_NAME_MAX + 1];
	size_t len = 0, name_len = strlen(name);

	if (name_len == 0)
		return -EINVAL;
	if (name_len > WAL_NAME_MAX)
		return -EMSGSIZE;
	for (size_t i = 0; i < name_len; i++) {
		int high, low;

		if (name[i] != '%') {
			out[len++] = name[i];
			continue;
		}
		high = hex_value(name[i + 1]);
		low = high < 0 ? -1 : hex_value(name[i + 2]);
		if (low < 0)
			return -EINVAL;
		out[len++] = (char)(high << 4 | low);
		i += 2;
	}
	out[len] = '\0';
	/* Canonical is what encodes back to the same name; one rule, kept in one place. */
	if (wal_key_to_name((struct wal_span){ out, len }, again) < 0 || strcmp(again, name) != 0)
		return -EINVAL;
	memcpy(key, out, len + 1);
	return (int)len;
}

int wal_key_check(struct wal_span key)
{
	char name[WAL_NAME_MAX + 1];
	int r = wal_key_to_name(key, name);

	return r < 0 ? r : 0;
}
