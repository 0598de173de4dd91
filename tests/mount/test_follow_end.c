/* SPDX-License-Identifier: MIT
 *
 * What ends a reader of follow: its stream, the daemon. And all the tools that read it.
 */
#include "follower.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void removed(void **state)
{
	struct mnt *m = *state;
	struct follower readers[3];
	char byte;
	int fd, idle;

	make_three(m);
	for (unsigned i = 0; i < 3; i++)
		readers[i] = follower_start(m, i ? "s/4.follow" : "s/follow");
	fd = open_follow(m, "s/new.follow", 0);
	idle = open_follow(m, "s/follow", 0);
	assert_read(idle, 3, "one");
	follower_gets(&readers[0], "one\ntwo\nthree\n");
	wait_parked(m, 3);
	assert_false(polls(fd, 0));
	assert_int_equal(sh(m, "rm -r s"), 0);
	for (unsigned i = 0; i < 3; i++)
		follower_ends(&readers[i], 0);
	assert_true(polls(fd, 0));
	assert_int_equal(must(read(fd, &byte, 1)), 0);
	assert_int_equal(must(read(fd, &byte, 1)), 0);
	assert_int_equal(must(read(idle, &byte, 1)), 0);
	must(close(fd));
	must(close(idle));
	/* Another one of that name is another stream. */
	make_three(m);
	must(rename(mp(m, "s"), mp(m, "t")));
	readers[0] = follower_start(m, "t/follow");
	follower_gets(&readers[0], "one\ntwo\nthree\n");
	must(rename(mp(m, "t"), mp(m, "u"))); /* it goes with the stream */
	append(m, "u", "four\n");
	follower_gets(&readers[0], "four\n");
	must(kill(readers[0].pid, SIGKILL));
	follower_ends(&readers[0], 128 + SIGKILL);
}

static void the_daemon_ends(void **state)
{
	struct mnt *m = *state;
	struct follower readers[8];
	char byte;
	int fd;

	make_three(m);
	for (unsigned i = 0; i < 8; i++)
		readers[i] = follower_start(m, "s/new.follow");
	fd = open_follow(m, "s/new.follow", 0);
	assert_false(polls(fd, 0));
	wait_parked(m, 8);
	must(kill(m->daemon, SIGTERM));
	for (unsigned i = 0; i < 8; i++)
		follower_ends(&readers[i], ENOTCONN);
	assert_int_equal(run_reap(m->daemon, 20), 0);
	m->daemon = 0;
	assert_errno(read(fd, &byte, 1), ENOTCONN);
	must(close(fd));
	mnt_start(m, NULL);
	/* A busy mount is not unmounted; a lazy unmount leaves the open file its reader. */
	readers[0] = follower_start(m, "s/new.follow");
	wait_parked(m, 1);
	assert_int_not_equal(run_sh(32, "cd / && umount %s 2>/dev/null", m->at), 0);
	append(m, "s", "four\n");
	follower_gets(&readers[0], "four\n");
	wait_parked(m, 1);
	must(kill(readers[0].pid, SIGKILL));
	follower_ends(&readers[0], 128 + SIGKILL);
}

/* Waits until the tool waits in read(2), or, as busybox sh does, in poll(2) with all of it put out. */
static void wait_tool(const struct mnt *m)
{
	double deadline = deadline_after(20);
	struct stat st;

	while (!stats_say(m, "readers_parked", 1) && (stat(tp(m, "out"), &st) < 0 || st.st_size < 14))
		if (!deadline_pause(deadline))
			fail_msg("the tool does not wait");
}

/* Each must give the three lines. Those that stop by themselves show an exit status of 0; the others read on, and
 * are ended by the removal of the stream. */
static const struct {
	const char *tool, *script;
	bool ends;
} ways[] = {
	{ "cat", "cat $S/follow", false },
	{ "cat", "cat < $S/follow | cat", false },
	{ "busybox", "busybox cat $S/follow", false },
	{ "dd", "dd if=$S/follow bs=64k status=none", false },
	{ "dd", "dd if=$S/follow bs=64k count=3 iflag=direct status=none", true },
	{ "dd", "dd if=$S/follow bs=1M iflag=direct status=none", false },
	{ "head", "head -c 14 $S/follow", true },
	{ "head", "cat $S/follow | head -n 3", false },      /* cat learns of it when it next writes */
	{ "head", "head -n 3 $S/follow 2>/dev/null", true }, /* it complains that it cannot seek back */
	{ "busybox", "busybox head -n 3 $S/follow", true },
	{ "tail", "tail -n +1 $S/follow", false },
	{ "tail", "tail -c +1 $S/follow || cat $S/follow", false }, /* refuses: it wants to seek */
	{ "busybox", "busybox tail -n +1 $S/follow", false },
	{ "tee", "tee < $S/follow", false },
	{ "grep", "grep --line-buffered . $S/follow", false },
	{ "sed", "sed -u '' $S/follow", false },
	{ "sed", "sed 3q $S/follow", true },
	{ "awk", "awk '{ print }' $S/follow", false },
	{ "perl", "perl -ne 'print; exit if $. == 3' $S/follow", true },
	{ "perl", "perl -pe '' $S/follow", false },
	{ "python3",
	  "python3 -c 'import shutil, sys; shutil.copyfile(sys.argv[1], sys.argv[2])' $S/follow $T/py; cat $T/py",
	  false },
	{ "python3", "python3 -c 'import shutil, sys; shutil.copyfileobj(open(sys.argv[1]), sys.stdout)' $S/follow",
	  false },
	{ "python3",
	  "python3 -c 'import sys, itertools\nfor l in itertools.islice(open(sys.argv[1]), 3): print(l, end=\"\")' "
	  "$S/follow",
	  true },
	{ "node", "node -e 'require(\"fs\").createReadStream(process.argv[1]).pipe(process.stdout)' $S/follow", false },
	{ "cp", "cp $S/follow $T/cp; cat $T/cp", false },
	{ "busybox", "busybox cp $S/follow $T/bcp; cat $T/bcp", false },
	{ "bash", "bash -c 'while read -r l; do echo $l; done < '$S/follow", false },
	{ "bash", "bash -c '{ read -r a; read -r b; cat; } < '$S'/follow | { echo one; echo two; cat; }'", false },
	{ "dash", "dash -c 'while read -r l; do echo $l; done < '$S/follow", false },
	{ "busybox", "busybox sh -c 'while read -r l; do echo $l; done < '$S/follow", false },
	{ "socat", "socat -u OPEN:$S/follow STDOUT", false },
	{ "wc", "wc -l < $S/follow | grep -x 3 > /dev/null && printf 'one\\ntwo\\nthree\\n'", false },
};

static void tools(void **state)
{
	struct mnt *m = *state;

	for (unsigned i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		pid_t pid;

		if (!have_tool(ways[i].tool)) {
			tap_note("%s is not installed: skipped %s", ways[i].tool, ways[i].script);
			continue;
		}
		make_three(m);
		(void)unlink(tp(m, "out"));
		pid = run_fork();
		if (pid == 0)
			_exit(sh(m, "S=s; { %s; } > $T/out", ways[i].script));
		if (!ways[i].ends) {
			wait_tool(m);
			assert_int_equal(sh(m, "rm -r s"), 0);
		}
		if (run_reap(pid, 20) != 0)
			fail_msg("%s", ways[i].script);
		assert_file(tp(m, "out"), BYTES("one\ntwo\nthree\n"));
		if (ways[i].ends)
			assert_int_equal(sh(m, "rm -r s"), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		MNT_TEST(removed),
		MNT_TEST(the_daemon_ends),
		MNT_TEST(tools),
	};

	return mnt_main("follow_end", tests, sizeof(tests) / sizeof(*tests));
}
