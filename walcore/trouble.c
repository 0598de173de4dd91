/* SPDX-License-Identifier: MIT */
#include "trouble.h"

#include <errno.h>

#include "banned.h"
#include "bounds.h"

struct wal_trouble_item {
	struct wal_trouble_item *next;
	char key[WAL_NAME_MAX + 1];
	char file[64];
	char reason[120];
	uint64_t off, seq, n;
	int code;
};

void wal_troubles_init(struct wal_troubles *troubles)
{
	pthread_mutex_init(&troubles->lock, NULL);
	troubles->first = NULL;
	troubles->end = &troubles->first;
	troubles->n = 0;
	troubles->met = troubles->met_damage = troubles->dropped = 0;
}

void wal_troubles_fini(struct wal_troubles *troubles)
{
	while (troubles->first) {
		struct wal_trouble_item *next = troubles->first->next;

		free(troubles->first);
		troubles->first = next;
	}
	pthread_mutex_destroy(&troubles->lock);
}

static bool same(const struct wal_trouble_item *item, const struct wal_trouble *trouble)
{
	return item->code == trouble->code && item->off == trouble->off && item->seq == trouble->seq &&
	       strcmp(item->key, trouble->key) == 0 && strcmp(item->file, trouble->file) == 0;
}

bool wal_troubles_add(struct wal_troubles *troubles, const struct wal_trouble *trouble)
{
	struct wal_trouble_item *item;
	bool added = false;

	pthread_mutex_lock(&troubles->lock);
	for (item = troubles->first; item; item = item->next)
		if (same(item, trouble))
			goto out;
	troubles->met++;
	troubles->met_damage += trouble->code == -EBADMSG;
	item = troubles->n < WAL_TROUBLES_MAX ? calloc(1, sizeof(*item)) : NULL;
	if (!item) {
		troubles->dropped++;
		goto out;
	}
	(void)snprintf(item->key, sizeof(item->key), "%s", trouble->key);
	(void)snprintf(item->file, sizeof(item->file), "%s", trouble->file);
	(void)snprintf(item->reason, sizeof(item->reason), "%s", trouble->reason);
	item->off = trouble->off;
	item->seq = trouble->seq;
	item->n = trouble->n;
	item->code = trouble->code;
	*troubles->end = item;
	troubles->end = &item->next;
	troubles->n++;
	added = true;
out:
	pthread_mutex_unlock(&troubles->lock);
	return added;
}

void wal_troubles_tell(struct wal_troubles *troubles, wal_trouble_fn *fn, void *arg)
{
	struct wal_trouble_item *item, *copy;
	uint64_t dropped;
	uint32_t n;

	/* Told from a copy: the callback may call us. Items are never freed before fini. */
	pthread_mutex_lock(&troubles->lock);
	copy = troubles->first;
	n = troubles->n;
	dropped = troubles->dropped;
	pthread_mutex_unlock(&troubles->lock);
	for (item = copy; n > 0; n--) {
		fn(arg, &(struct wal_trouble){ item->key, item->file, item->off, item->seq, item->n, item->code,
					       item->reason });
		if (n > 1) {
			pthread_mutex_lock(&troubles->lock);
			item = item->next;
			pthread_mutex_unlock(&troubles->lock);
		}
	}
	if (dropped > 0)
		fn(arg, &(struct wal_trouble){ "", "", 0, 0, dropped, -EOVERFLOW, "further troubles, not kept" });
}

uint64_t wal_troubles_met(struct wal_troubles *troubles, uint64_t *ret_damage)
{
	uint64_t met;

	pthread_mutex_lock(&troubles->lock);
	met = troubles->met;
	*ret_damage = troubles->met_damage;
	pthread_mutex_unlock(&troubles->lock);
	return met;
}
