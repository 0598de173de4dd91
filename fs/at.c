/* SPDX-License-Identifier: MIT
 *
 * The link is a node by the number that it leads to, so that reading it asks for nothing more. A follow link where there is
 * no such record yet leads to the next one to come, by its number: what is committed between the lookup and the open
 * is not missed.
 */
#include "at.h"

#include "attr.h"
#include "walfs.h"
#include "when.h"

#include <errno.h>
#include <string.h>

static const char follow[] = ".follow";

int walfs_at_parse(struct walfs_call *call, struct walfs_inode *inode, struct walfs_node *ret_node)
{
	struct walfs_node node = { .kind = WALFS_AT_LINK, .stream = inode->id };
	size_t len = strlen(call->name), tail = sizeof(follow) - 1;
	struct wal_stat stat;
	int64_t ns = 0;

	if (call->name[0] == '.')
		return -ENOENT; /* what tools look for everywhere */
	if (len > tail && strcmp(call->name + len - tail, follow) == 0) {
		node.kind = WALFS_AT_FOLLOW;
		len -= tail;
	}
	int when_err = walfs_when_parse(call->name, len, &ns);
	if (when_err == -EINVAL)
		return -EINVAL;
	if (call->wait & WAL_NOWAIT)
		return -EAGAIN;
	int err = walfs_attr_stat_full(inode, call->wait, &stat); /* before the search: it may just miss one */
	if (err == 0)
		err = when_err < 0 ? -ENOENT : wal_find_time(inode->stream, ns, &node.seq);
	if (err == -ENOENT && node.kind == WALFS_AT_FOLLOW) {
		node.seq = stat.next;
		err = 0;
	}
	if (err < 0)
		return err;
	if (!walfs_node_fits(node.kind, node.seq))
		return -EOVERFLOW;
	*ret_node = node;
	return 0;
}
