/* SPDX-License-Identifier: MIT
 *
 * Races for the next number: of all who try to make it exactly one succeeds, whether with system calls or from shells, and
 * whoever appends meanwhile; of what the others wrote there is nothing.
 */
#include "files.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum { RACERS = 8, RACES = 10000 };

struct shared {
	atomic_uint wins[RACES + 1];
	atomic_uint stale, odd;
};

static struct shared *share(void)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(s != MAP_FAILED);
	return s;
}

/* Tries every number up to `last`: each until it is taken, by whomever. */
static void race(const struct mnt *m, struct shared *s, unsigned who, unsigned last)
{
	char name[32], text[64];

	for (unsigned n = 1; n <= last;) {
		int len = snprintf(text, sizeof(text), "%u %u", who, n), fd, err = 0;

		(void)snprintf(name, sizeof(name), "%010u", n);
		fd = open(mp(m, "s/%s", name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd < 0 || write(fd, text, (size_t)len) != len)
			err = errno;
		if (fd >= 0 && close(fd) != 0)
			err = errno;
		if (!err)
			atomic_fetch_add(&s->wins[n], 1);
		else if (err == ESTALE)
			atomic_fetch_add(&s->stale, 1);
		else if (err != EEXIST)
			atomic_fetch_add(&s->odd, 1);
		n += access(mp(m, "s/%s", name), F_OK) == 0;
	}
}

/* Who won each race has written the record, and of nobody else there is a byte. */
static void check_wins(const struct mnt *m, struct shared *s, unsigned last, unsigned *ret_won)
{
	*ret_won = 0;
	for (unsigned n = 1; n <= last; n++) {
		unsigned wins = atomic_load(&s->wins[n]);
		char *text = slurp(mp(m, "s/%u", n), NULL);
		const char *space = strchr(text, ' ');
		bool created = space != NULL;

		if (created && strtoul(space, NULL, 10) != n)
			fail_msg("record %u has '%s'", n, text);
		if (wins != (created ? 1 : 0))
			fail_msg("race %u has %u winners; the record is '%s'", n, wins, text);
		*ret_won += wins;
		free(text);
	}
}

static void ten_thousand_races(void **state)
{
	struct mnt *m = *state;
	struct shared *s = share();
	pid_t pids[RACERS];
	unsigned won;
	double start = now_s();

	mnt_watchdog(300);
	make_stream(m, "s");
	for (unsigned i = 0; i < RACERS; i++) {
		pids[i] = run_fork();
		if (pids[i] == 0) {
			race(m, s, i, RACES);
			_exit(0);
		}
	}
	for (unsigned i = 0; i < RACERS; i++)
		assert_int_equal(run_reap(pids[i], 200), 0);
	assert_int_equal(last_seq(m, "s"), RACES);
	check_wins(m, s, RACES, &won);
	assert_int_equal(won, RACES);
	assert_int_equal(atomic_load(&s->odd), 0);
	tap_note("%u races of %u: %.1f s, %u lost them only when they wrote", RACES, RACERS, now_s() - start,
		 atomic_load(&s->stale));
	(void)munmap(s, sizeof(*s));
}

/* Two append all the while: a creator who is overtaken gets ESTALE, and nothing of his is there. */
static void races_with_appends(void **state)
{
	enum { LAST = 2000, CREATORS = 4, APPENDERS = 2 };
	struct mnt *m = *state;
	struct shared *s = share();
	pid_t pids[CREATORS + APPENDERS];
	unsigned won;

	mnt_watchdog(300);
	make_stream(m, "s");
	for (unsigned i = 0; i < CREATORS + APPENDERS; i++) {
		pids[i] = run_fork();
		if (pids[i] == 0 && i < CREATORS) {
			race(m, s, i, LAST);
			_exit(0);
		}
		if (pids[i] == 0) {
			unsigned n = 0;

			while (access(mp(m, "s/%u", LAST), F_OK) != 0) {
				int fd = open(mp(m, "s/append"), O_WRONLY | O_APPEND);

				if (write(fd, "appended", 8) != 8 || close(fd) != 0)
					_exit(1);
				while (access(mp(m, "s/%u", n += 3), F_OK) == 0) /* a few for the others */
					;
			}
			_exit(0);
		}
	}
	for (unsigned i = 0; i < CREATORS + APPENDERS; i++)
		assert_int_equal(run_reap(pids[i], 200), 0);
	check_wins(m, s, LAST, &won);
	assert_int_equal(atomic_load(&s->odd), 0);
	tap_note("%u of %u records made by number; %u times the number was gone", won, LAST, atomic_load(&s->stale));
	assert_true(won > 0);
	assert_true(atomic_load(&s->stale) > 0);
	(void)munmap(s, sizeof(*s));
}

/* The same as anybody would write it. */
static void shells_race(void **state)
{
	static const char *const shells[] = { "bash", "dash", "busybox" };
	enum { EACH = 4, LAST = 60 };
	struct mnt *m = *state;
	pid_t pids[3 * EACH];
	unsigned n = 0;

	make_stream(m, "s");
	for (unsigned i = 0; i < 3 * EACH; i++) {
		char who[16];

		if (!have_tool(shells[i % 3])) {
			tap_note("%s is not installed: not tried", shells[i % 3]);
			continue;
		}
		(void)snprintf(who, sizeof(who), "%u", i);
		pids[n] = run_fork();
		if (pids[n++] == 0) {
			const char *script = "cd \"$1\" && n=1; while [ $n -le 60 ]; do "
					     "if ( set -C; echo $2 > s/$n ) 2>/dev/null; then echo $2 >> $3/$n; fi; "
					     "[ -e s/$n ] && n=$((n+1)); done; exit 0";

			if (strcmp(shells[i % 3], "busybox") == 0)
				(void)execlp("busybox", "busybox", "sh", "-c", script, "sh", m->at, who, m->tmp, NULL);
			else
				(void)execlp(shells[i % 3], "sh", "-c", script, "sh", m->at, who, m->tmp, NULL);
			_exit(127);
		}
	}
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(run_reap(pids[i], 100), 0);
	assert_int_equal(last_seq(m, "s"), LAST);
	for (unsigned i = 1; i <= LAST; i++)
		assert_same_file(mp(m, "s/%u", i), tp(m, "%u", i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST_RELAXED(ten_thousand_races),
		MNT_TEST(races_with_appends),
		MNT_TEST_RELAXED(races_with_appends),
		MNT_TEST(shells_race),
	};

	return mnt_main("races", tests, sizeof(tests) / sizeof(*tests));
}
