/* SPDX-License-Identifier: MIT
 *
 * Each setting is a row of one table: its key, its place in the struct, and how its value is read and written.
 */
#include "settings.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "banned.h"
#include "err.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* The first one that divides a value is used to write it; the empty one is for reading a plain number. */
static const struct unit time_units[] = {
	{ "d", UINT64_C(86400000000000) },
	{ "h", UINT64_C(3600000000000) },
	{ "m", UINT64_C(60000000000) },
	{ "s", UINT64_C(1000000000) },
	{ "ms", UINT64_C(1000000) },
	{ "us", UINT64_C(1000) },
	{ "ns", 1 },
	{ "w", UINT64_C(604800000000000) }, /* read, not written: 7d stays 7d */
	{ "", UINT64_C(1000000000) },
	{ NULL, 0 },
};
static const struct unit size_units[] = {
	{ "T", UINT64_C(1) << 40 },
	{ "G", UINT64_C(1) << 30 },
	{ "M", UINT64_C(1) << 20 },
	{ "K", UINT64_C(1) << 10 },
	{ "", 1 },
	{ NULL, 0 },
};
static const struct unit count_units[] = {
	{ "", 1 },
	{ NULL, 0 },
};

static const struct setting {
	const char *key;
	size_t offset;            /* of a uint64_t in struct wal_settings; unused for durable */
	const struct unit *units; /* NULL: durable */
	uint64_t max;
	bool none_allowed;
} table[] = {
	{ "durable", 0, NULL, 0, false },
	{ "retention.age", offsetof(struct wal_settings, retention_age_ns), time_units, INT64_MAX, true },
	{ "retention.bytes", offsetof(struct wal_settings, retention_bytes), size_units, INT64_MAX, true },
	{ "retention.records", offsetof(struct wal_settings, retention_records), count_units, INT64_MAX, true },
	{ "max_record", offsetof(struct wal_settings, max_record), size_units, WAL_CONTENT_MAX, true },
};

/* A decimal number with an optional unit. */
static int parse_quantity(const struct unit *units, const char *text, size_t len, uint64_t *ret)
{
	uint64_t value = 0;
	size_t i = 0;

	for (; i < len && isdigit((unsigned char)text[i]); i++)
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
			return -ERANGE;
	if (i == 0)
		return -EINVAL;
	for (const struct unit *u = units; u->name; u++) {
		if (strlen(u->name) != len - i || memcmp(u->name, text + i, len - i) != 0)
			continue;
		if (__builtin_mul_overflow(value, u->factor, &value))
			return -ERANGE;
		*ret = value;
		return 0;
	}
	return -EINVAL;
}

static bool is_word(const char *text, size_t len, const char *word)
{
	return strlen(word) == len && memcmp(text, word, len) == 0;
}

static int parse_durable(const char *text, size_t len, uint32_t *ret)
{
	if (is_word(text, len, "yes"))
		*ret = WAL_DURABILITY_DURABLE;
	else if (is_word(text, len, "no"))
		*ret = WAL_DURABILITY_RELAXED;
	else if (len == 0 || is_word(text, len, "default"))
		*ret = WAL_DURABILITY_DEFAULT;
	else
		return -EINVAL;
	return 0;
}

static int parse_value(struct wal_settings *settings, const struct setting *row, const char *text, size_t len)
{
	uint64_t value = 0;
	int r = 0;

	if (!row->units)
		return parse_durable(text, len, &settings->durability);
	if (is_word(text, len, "none") && row->none_allowed)
		value = WAL_FOREVER;
	else if (len > 0 && !is_word(text, len, "default"))
		r = parse_quantity(row->units, text, len, &value);
	else
		goto store;
	if (r < 0)
		return r;
	if (value == 0) /* 0 would mean the default, which is not what was written */
		return -EINVAL;
	if (value > row->max && value != WAL_FOREVER)
		return -ERANGE;
store:
	memcpy((char *)settings + row->offset, &value, sizeof(value));
	return 0;
}

static int parse_line(struct wal_settings *settings, const char *line, size_t len, struct wal_err *err)
{
	const char *eq = memchr(line, '=', len);
	int shown = (int)(len < 80 ? len : 80);
	size_t key_len;
	int r;

	if (!eq)
		return wal_err_set(err, -EINVAL, "'%.*s' is not key=value", shown, line);
	key_len = (size_t)(eq - line);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (!is_word(line, key_len, table[i].key))
			continue;
		r = parse_value(settings, &table[i], eq + 1, len - key_len - 1);
		if (r == -ERANGE)
			return wal_err_set(err, -EINVAL, "'%.*s': value out of range", shown, line);
		if (r < 0)
			return wal_err_set(err, -EINVAL, "'%.*s': malformed value", shown, line);
		return 0;
	}
	return wal_err_set(err, -EINVAL, "'%.*s': unknown setting", shown, line);
}

int wal_settings_parse(struct wal_settings *settings, const char *text, size_t len, struct wal_err *err)
{
	struct wal_settings out = *settings;
	int r;

	while (len > 0) {
		const char *end = memchr(text, '\n', len);
		size_t line_len = end ? (size_t)(end - text) : len;

		if (line_len > 0) {
			r = parse_line(&out, text, line_len, err);
			if (r < 0)
				return r;
		}
		line_len += end ? 1 : 0;
		text += line_len;
		len -= line_len;
	}
	*settings = out;
	return 0;
}

static void format_value(const struct wal_settings *settings, const struct setting *row, char buf[40])
{
	static const char *const durable[] = { "default", "yes", "no" };
	uint64_t value;

	if (!row->units) {
		(void)snprintf(buf, 40, "%s", durable[settings->durability % 3]);
		return;
	}
	memcpy(&value, (const char *)settings + row->offset, sizeof(value));
	if (value == 0 || value == WAL_FOREVER) {
		(void)snprintf(buf, 40, "%s", value ? "none" : "default");
		return;
	}
	for (const struct unit *u = row->units; u->name; u++) {
		if (value % u->factor != 0)
			continue;
		(void)snprintf(buf, 40, "%" PRIu64 "%s", value / u->factor, u->name);
		return;
	}
}

int wal_settings_format(const struct wal_settings *settings, char *buf, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		char value[40] = "";
		int n;

		format_value(settings, &table[i], value);
		n = snprintf(len < size ? buf + len : NULL, len < size ? size - len : 0, "%s=%s\n", table[i].key,
			     value);
		len += (size_t)n;
	}
	return (int)len;
}

uint64_t wal_settings_pick(uint64_t stream, uint64_t store, uint64_t built_in)
{
	return stream ? stream : store ? store : built_in;
}
