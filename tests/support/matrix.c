/* SPDX-License-Identifier: MIT */
#include "matrix.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "files.h"

#define MIB (1 << 20)

/* One cell of the matrix, as a test. */
struct crossing {
	char title[192];
	char stream[200];
	const struct cell *cell;
	const char *shell;
	bool ran;
};

static struct mnt *shared; /* mounted by the first cell that runs */
static struct crossing *crossings;
static size_t n_crossings;

static void make_sparse(const char *path, const char *head, const char *tail, off_t len)
{
	int fd = (int)must(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));

	must(ftruncate(fd, len));
	assert_int_equal(pwrite(fd, head, strlen(head), 0), strlen(head));
	assert_int_equal(pwrite(fd, tail, strlen(tail), len - (off_t)strlen(tail)), strlen(tail));
	must(close(fd));
}

static void make_inputs(const struct mnt *m)
{
	FILE *f;

	put(tp(m, "a"), O_WRONLY | O_CREAT, BYTES("alpha\n"));
	put(tp(m, "b"), O_WRONLY | O_CREAT, BYTES("beta\n"));
	make_file(tp(m, "big"), 3 * MIB + 4711, 1);
	make_file(tp(m, "blocks"), 5 * 4096, 2);
	make_sparse(tp(m, "holes-head"), "", "end", MIB + 3);
	make_sparse(tp(m, "holes-mid"), "begin", "end", MIB + 3);
	make_sparse(tp(m, "holes-tail"), "begin", "", MIB + 3);
	make_sparse(tp(m, "holes-all"), "", "", MIB + 3);
	f = fopen(tp(m, "lines"), "we");
	assert_non_null(f);
	for (int i = 0; i < 10000; i++)
		(void)fprintf(f, "%d of ten thousand\n", i);
	assert_int_equal(fclose(f), 0);
}

static void check_file_records(const struct crossing *x)
{
	const struct cell *cell = x->cell;
	size_t len, n;
	char *all = slurp(tp(shared, "%s", cell->file), &len);
	struct bytes want[64];

	n = cell->block ? (len + cell->block - 1) / cell->block : 1;
	assert_true(n <= 64);
	for (size_t i = 0; i < n; i++) {
		size_t off = i * cell->block;

		want[i] = (struct bytes){ all + off, cell->block && len - off > cell->block ? cell->block : len - off };
	}
	if (cell->later)
		wait_record(shared, x->stream, n);
	assert_records(shared, x->stream, n, want);
	free(all);
}

static void check(const struct crossing *x)
{
	size_t n = 0;

	if (x->cell->file) {
		check_file_records(x);
		return;
	}
	while (x->cell->texts[n])
		n++;
	if (x->cell->later && n > 0)
		wait_record(shared, x->stream, n);
	assert_text_records(shared, x->stream, n, x->cell->texts);
}

static void run_crossing(void **state)
{
	struct crossing *x = *state;
	char *script = NULL;
	void *fresh;

	need_tool(x->shell);
	if (x->cell->tool)
		need_tool(x->cell->tool);
	if (!shared) {
		assert_int_equal(mnt_setup(&fresh), 0);
		shared = fresh;
		make_inputs(shared);
	}
	mnt_watchdog(60);
	make_stream(shared, x->stream);
	assert_int_not_equal(asprintf(&script, "S='%s' A='%s/append'\n%s", x->stream, x->stream, x->cell->script), -1);
	assert_int_equal(sh_with(shared, x->shell, script), x->cell->code);
	free(script);
	check(x);
	x->ran = true;
}

static void all_again(void **state)
{
	void *last = shared;

	(void)state;
	if (!shared)
		skip_because("nothing ran");
	mnt_watchdog(200);
	mnt_restart(shared, NULL);
	for (size_t i = 0; i < n_crossings; i++)
		if (crossings[i].ran)
			check(&crossings[i]);
	assert_int_equal(mnt_teardown(&last), 0);
}

int matrix_main(const char *name, const struct cell *cells, size_t n, const char *const *shells, size_t n_shells)
{
	struct CMUnitTest *tests = calloc(n * n_shells + 1, sizeof(*tests));
	int status;

	crossings = calloc(n * n_shells, sizeof(*crossings));
	if (!tests || !crossings)
		return 1;
	for (size_t i = 0; i < n * n_shells; i++) {
		struct crossing *x = &crossings[i];

		x->cell = &cells[i / n_shells];
		x->shell = shells[i % n_shells];
		(void)snprintf(x->title, sizeof(x->title), "%s: %s", x->shell, x->cell->name);
		(void)snprintf(x->stream, sizeof(x->stream), "%s %s", x->shell, x->cell->name);
		for (char *s = x->stream; *s; s++)
			*s = *s == '/' || *s == '%' || *s == '\'' ? '_' : *s;
		tests[i] = (struct CMUnitTest){ x->title, run_crossing, NULL, NULL, x };
	}
	n_crossings = n * n_shells;
	tests[n_crossings] = (struct CMUnitTest){ "all of them again, after a remount", all_again, NULL, NULL, NULL };
	status = mnt_main(name, tests, n_crossings + 1);
	free(crossings);
	free(tests);
	return status;
}
