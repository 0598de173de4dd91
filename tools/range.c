/* SPDX-License-Identifier: MIT
 *
 * range: records as the arguments of walctl name them.
 */
#include "range.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct cli_range cli_range_all(const struct wal_stat *stat)
{
	return (struct cli_range){ .from = stat->first, .to = stat->next - 1 };
}

/* Reads one end, of `len` bytes. Returns 0, -EINVAL, or -ENOENT for first and last where there is no record. */
static int parse_end(const char *text, size_t len, const struct wal_stat *stat, uint64_t *ret_seq)
{
	unsigned long long seq;
	char digits[64];

	if (len == 0 || len >= sizeof(digits))
		return -EINVAL;
	memcpy(digits, text, len);
	digits[len] = '\0';
	if (strcmp(digits, "first") == 0 || strcmp(digits, "last") == 0) {
		*ret_seq = digits[0] == 'f' ? stat->first : stat->next - 1;
		return stat->first < stat->next ? 0 : -ENOENT;
	}
	if (strspn(digits, "0123456789") != len)
		return -EINVAL;
	errno = 0;
	seq = strtoull(digits, NULL, 10);
	if (errno != 0 || seq == 0)
		return -EINVAL;
	*ret_seq = seq;
	return 0;
}

int cli_range_parse(const struct cli *cli, const char *text, const struct wal_stat *stat, struct cli_range *ret_range)
{
	const char *dash = strchr(text, '-');
	struct cli_range range = { 0 };
	int rc;

	if (dash == NULL) {
		rc = parse_end(text, strlen(text), stat, &range.from);
		range.to = range.from;
	} else {
		rc = parse_end(text, (size_t)(dash - text), stat, &range.from);
		range.to = stat->next - 1;
		if (rc == 0 && dash[1] != '\0')
			rc = parse_end(dash + 1, strlen(dash + 1), stat, &range.to);
	}
	if (rc == -ENOENT)
		return cli_fail(cli, rc, "%s", text);
	if (rc < 0 || (range.to < range.from && dash[1] != '\0'))
		return cli_usage(cli, "'%s' is not a record or a range: N, N-M, N-, first or last", text);
	*ret_range = range;
	return CLI_OK;
}
