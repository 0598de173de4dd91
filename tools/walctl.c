/* SPDX-License-Identifier: MIT
 *
 * walctl: looks into a store and appends to it, without a mount. This file finds the command.
 */
#include <stdio.h>
#include <string.h>

#include "commands.h"

static const char help[] = "usage: walctl COMMAND [OPTION]... STORE [ARGUMENT]...\n"
			   "\n"
			   "  ls      lists the streams of a store, or the records of a stream\n"
			   "  stat    prints figures and settings of a store or a stream\n"
			   "  cat     prints the content or the headers of records\n"
			   "  append  appends records\n"
			   "  verify  reads everything and reports damage; changes nothing\n"
			   "\n"
			   "All but append work on a store in use, and change nothing.\n"
			   "Exit status: 0, 1 (damage was found), 2 (wrong usage, or an error).\n"
			   "'walctl COMMAND --help' tells more, walctl(1) all.\n";

static const struct command {
	const char *name;
	int (*run)(const struct cli *cli, int argc, char **argv);
	const char *help;
} commands[] = {
	{ "ls", cmd_ls, cmd_ls_help },
	{ "stat", cmd_stat, cmd_stat_help },
	{ "cat", cmd_cat, cmd_cat_help },
	{ "append", cmd_append, cmd_append_help },
	{ "verify", cmd_verify, cmd_verify_help },
};

int main(int argc, char **argv)
{
	struct cli cli = { .name = "walctl", .help = help };
	char program[] = "walctl";
	char name[32];
	size_t i;

	if (argc < 2)
		return cli_usage(&cli, "a command is missing");
	if (argv[1][0] == '-') {
		argv[0] = program; /* what getopt_long begins its messages with */
		return cli_common_option(&cli, getopt_long(argc, argv, "+hV", cli_longopts, NULL));
	}
	for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name) != 0)
			continue;
		snprintf(name, sizeof(name), "walctl %s", commands[i].name);
		cli = (struct cli){ .name = name, .help = commands[i].help };
		argv[1] = name;
		return commands[i].run(&cli, argc - 1, argv + 1);
	}
	return cli_usage(&cli, "unknown command '%s'", argv[1]);
}
