/* SPDX-License-Identifier: MIT
 *
 * Days are counted as in the Gregorian calendar for ever, seconds as in POSIX: a leap second is the one that follows.
 */
#include "when.h"

#include <errno.h>
#include <stdbool.h>

#define NS_PER_S 1000000000
#define SECONDS_PER_DAY 86400

struct cursor {
	const char *at, *end;
};

static bool is_digit(const struct cursor *c)
{
	return c->at < c->end && *c->at >= '0' && *c->at <= '9';
}

/* One of these characters; 0 where there is none of them. */
static char take(struct cursor *c, const char *any)
{
	for (; c->at < c->end && *any; any++)
		if (*c->at == *any)
			return *c->at++;
	return 0;
}

/* Exactly n digits, a number of min to max. */
static bool take_number(struct cursor *c, int n, int min, int max, int *ret)
{
	int value = 0;
	for (int i = 0; i < n; i++) {
		if (!is_digit(c))
			return false;
		value = value * 10 + (*c->at++ - '0');
	}
	*ret = value;
	return value >= min && value <= max;
}

/* A point and digits, or nothing. What is finer than nanoseconds makes one more. */
static bool take_fraction(struct cursor *c, int64_t *ret_ns, bool *ret_finer)
{
	int64_t ns = 0, unit = NS_PER_S;
	*ret_ns = 0;
	*ret_finer = false;
	if (!take(c, "."))
		return true;
	if (!is_digit(c))
		return false;
	for (; is_digit(c); c->at++) {
		unit /= 10;
		ns += unit * (*c->at - '0');
		if (unit == 0 && *c->at != '0')
			*ret_finer = true;
	}
	*ret_ns = ns;
	return true;
}

static int to_ns(int64_t seconds, int64_t ns, int64_t *ret_ns)
{
	/* A second that does not fit is on the side of its sign, whatever the nanoseconds. */
	if (__builtin_mul_overflow(seconds, (int64_t)NS_PER_S, ret_ns) || __builtin_add_overflow(*ret_ns, ns, ret_ns)) {
		if (seconds > 0)
			return -ERANGE;
		*ret_ns = INT64_MIN;
	}
	return 0;
}

/* @ has been taken. */
static int parse_seconds(struct cursor *c, int64_t *ret_ns)
{
	bool negative = take(c, "+-") == '-', over = false, finer;
	int64_t seconds = 0, ns;
	if (!is_digit(c))
		return -EINVAL;
	for (; is_digit(c); c->at++)
		if (__builtin_mul_overflow(seconds, 10, &seconds) ||
		    __builtin_add_overflow(seconds, *c->at - '0', &seconds))
			over = true;
	if (!take_fraction(c, &ns, &finer) || c->at != c->end)
		return -EINVAL;
	if (over) {
		*ret_ns = INT64_MIN;
		return negative ? 0 : -ERANGE;
	}
	/* Rounded up: of a negative number that is towards zero. */
	return negative ? to_ns(-seconds, -ns, ret_ns) : to_ns(seconds, ns + finer, ret_ns);
}

static bool is_leap(int year)
{
	return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

static int days_in(int year, int month)
{
	static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	return days[month - 1] + (month == 2 && is_leap(year));
}

/* Days from 1970-01-01 on. */
static int64_t days_since(int year, int month, int day)
{
	int64_t days = day - 1, before = year - 1;
	for (int i = 1; i < month; i++)
		days += days_in(year, i);
	/* 719,162 days from the first of year 1 to 1970; year 0 has its own 366 before that. */
	if (year == 0)
		return days - 366 - 719162;
	return days + before * 365 + before / 4 - before / 100 + before / 400 - 719162;
}

static bool take_zone(struct cursor *c, int *ret_seconds)
{
	int hours, minutes;
	*ret_seconds = 0;
	if (take(c, "Zz"))
		return true;
	char sign = take(c, "+-");
	if (!sign || !take_number(c, 2, 0, 23, &hours) || !take(c, ":") || !take_number(c, 2, 0, 59, &minutes))
		return false;
	*ret_seconds = (hours * 60 + minutes) * (sign == '-' ? -60 : 60);
	return true;
}

static int parse_date(struct cursor *c, int64_t *ret_ns)
{
	int year, month, day, hour, minute, second, zone;
	int64_t ns;
	bool finer;
	if (!take_number(c, 4, 0, 9999, &year) || !take(c, "-") || !take_number(c, 2, 1, 12, &month) || !take(c, "-") ||
	    !take_number(c, 2, 1, days_in(year, month), &day) || !take(c, "Tt ") || !take_number(c, 2, 0, 23, &hour) ||
	    !take(c, ":") || !take_number(c, 2, 0, 59, &minute) || !take(c, ":") ||
	    !take_number(c, 2, 0, 60, &second) || !take_fraction(c, &ns, &finer) || !take_zone(c, &zone) ||
	    c->at != c->end)
		return -EINVAL;
	int64_t seconds = days_since(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second - zone;
	return to_ns(seconds, ns + finer, ret_ns);
}

int walfs_when_parse(const char *text, size_t len, int64_t *ret_ns)
{
	struct cursor cursor = { text, text + len };
	int64_t ns = 0;
	int err = take(&cursor, "@") ? parse_seconds(&cursor, &ns) : parse_date(&cursor, &ns);
	if (err == 0)
		*ret_ns = ns;
	return err;
}
