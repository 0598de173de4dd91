/* SPDX-License-Identifier: MIT
 *
 * keys: the store's directory is the list of keys. What is no canonical name of a key, or no directory, is not ours, and is
 * passed over.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>

#include "banned.h"
#include "key.h"
#include "store.h"

struct wal_keys {
	struct wal_store *store;
	int fd;
	char key[WAL_KEY_MAX + 1];
	_Alignas(8) char buf[32768];
	size_t at, len;
};

struct dirent_head { /* as getdents64(2) gives it */
	uint64_t ino;
	int64_t off;
	uint16_t reclen;
	uint8_t type;
	char name[];
};

int wal_keys_open(struct wal_store *store, struct wal_keys **ret_keys)
{
	struct wal_keys *keys = malloc(sizeof(*keys));

	if (!keys)
		return -ENOMEM;
	keys->store = store;
	keys->at = keys->len = 0;
	keys->fd = wal_io_open(store->io, store->dirfd, ".", O_RDONLY | O_DIRECTORY, 0);
	if (keys->fd < 0) {
		int r = keys->fd;

		free(keys);
		return r;
	}
	*ret_keys = keys;
	return 0;
}

int wal_keys_next(struct wal_keys *keys, struct wal_span *ret_key, uint64_t *ret_cookie)
{
	const struct wal_io *io = keys->store->io;

	for (;;) {
		const struct dirent_head *d;
		ssize_t n;
		int len;

		if (keys->at >= keys->len) {
			n = io->getdents(io, keys->fd, keys->buf, sizeof(keys->buf));
			if (n <= 0)
				return (int)n;
			keys->at = 0;
			keys->len = (size_t)n;
		}
		d = (const struct dirent_head *)(keys->buf + keys->at);
		keys->at += d->reclen;
		if (d->type != DT_DIR && d->type != DT_UNKNOWN)
			continue;
		len = wal_key_from_name(d->name, keys->key);
		if (len < 0)
			continue;
		*ret_key = (struct wal_span){ keys->key, (size_t)len };
		*ret_cookie = (uint64_t)d->off;
		return 1;
	}
}

int wal_keys_seek(struct wal_keys *keys, uint64_t cookie)
{
	keys->at = keys->len = 0;
	return keys->store->io->seekdir(keys->store->io, keys->fd, cookie);
}

void wal_keys_close(struct wal_keys *keys)
{
	if (!keys)
		return;
	(void)keys->store->io->close(keys->store->io, keys->fd); /* only read from */
	free(keys);
}
