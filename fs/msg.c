/* SPDX-License-Identifier: MIT
 *
 * Until its empty line comes, what is written may be the header, or it is all content: it is kept in `header` for so long, of
 * at most the largest header. A message that is longer without an empty line has no header; should one come after all,
 * the header was too long. So what is kept aside is small, and content never has to be taken back, though it may be
 * on disk already.
 */
#include "msg.h"

#include "message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add_content(struct walfs_call *call, struct walfs_appender *file, const char *data, uint64_t n)
{
	struct wal_span header = { file->header, file->header_len };
	if (file->msg == WALFS_MSG_PLAIN)
		header.len = 0;
	return walfs_pending_add(&file->pending, file->inode->stream, header, data, n, call->wait);
}

/* Keeps n bytes more of what may be the header, with their memory and their space on disk. */
static int keep(struct walfs_call *call, struct walfs_appender *file, const char *data, size_t n)
{
	struct wal_stream *stream = file->inode->stream;
	if (n == 0)
		return 0;
	int err = walfs_user_take(file->file.user, WALFS_HELD, n);
	if (err < 0)
		return err;
	err = walfs_pending_reserve(&file->pending, stream, n, call->wait);
	char *header = err < 0 ? NULL : realloc(file->header, file->header_len + n);
	if (err == 0 && !header) {
		walfs_pending_unreserve(&file->pending, stream, n);
		err = -ENOMEM;
	}
	if (err < 0) {
		walfs_user_give(file->file.user, WALFS_HELD, n);
		return err;
	}
	if (data)
		memcpy(header + file->header_len, data, n);
	else
		memset(header + file->header_len, 0, n);
	file->header = header;
	file->header_len += n;
	file->header_held += n;
	return 0;
}

/* Takes back what was kept last. */
static void unkeep(struct walfs_appender *file, size_t n)
{
	if (!file->pending.draft) /* which has no reservation any more */
		walfs_pending_unreserve(&file->pending, file->inode->stream, n);
	walfs_user_give(file->file.user, WALFS_HELD, n);
	file->header_len -= n;
	file->header_held -= n;
}

/* What was kept is content. */
static int begin_plain(struct walfs_call *call, struct walfs_appender *file)
{
	int err = walfs_pending_add(&file->pending, file->inode->stream, (struct wal_span){ 0 }, file->header,
				    file->header_len, call->wait);
	if (err < 0)
		return err;
	file->msg = WALFS_MSG_PLAIN;
	file->newline = file->header_len > 0 && ((const char *)file->header)[file->header_len - 1] == '\n';
	if (!file->pending.draft)
		walfs_pending_unreserve(&file->pending, file->inode->stream, file->header_len);
	walfs_appender_free_header(file);
	return 0;
}

static int add_plain(struct walfs_call *call, struct walfs_appender *file, const char *data, uint64_t n)
{
	if (data && walfs_message_empty_line(data, n, file->newline) >= 0)
		return -E2BIG;
	int err = add_content(call, file, data, n);
	if (err == 0)
		file->newline = data && data[n - 1] == '\n';
	return err;
}

static int add_head(struct walfs_call *call, struct walfs_appender *file, const char *data, uint64_t n)
{
	bool newline = file->header_len == 0 || ((const char *)file->header)[file->header_len - 1] == '\n';
	ssize_t at = data ? walfs_message_empty_line(data, n, newline) : -ENOENT;
	size_t len = at >= 0 ? (size_t)at : n;

	if (len > WAL_HEADER_MAX - file->header_len) {
		if (at >= 0)
			return -E2BIG;
		int err = begin_plain(call, file);
		return err < 0 ? err : add_plain(call, file, data, n);
	}
	int err = keep(call, file, data, len);
	if (err == 0 && at >= 0) {
		err = add_content(call, file, data + len + 1, n - len - 1);
		if (err < 0)
			unkeep(file, len);
	}
	if (err == 0)
		file->msg = at >= 0 ? WALFS_MSG_CONTENT : WALFS_MSG_HEAD;
	return err;
}

int walfs_msg_add(struct walfs_call *call, struct walfs_appender *file, const char *data, uint64_t n)
{
	if (n == 0)
		return 0;
	switch (file->msg) {
	case WALFS_MSG_CONTENT:
		return add_content(call, file, data, n);
	case WALFS_MSG_PLAIN:
		return add_plain(call, file, data, n);
	default:
		return add_head(call, file, data, n);
	}
}
