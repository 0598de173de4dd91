/* SPDX-License-Identifier: MIT
 *
 * commands: those of walctl, one file each. Every one gets its arguments with argv[0] being its name, and returns an exit
 * status.
 * Threads: one.
 */
#ifndef WALCTL_COMMANDS_H
#define WALCTL_COMMANDS_H

#include "cli.h"

int cmd_ls(const struct cli *cli, int argc, char **argv);
int cmd_stat(const struct cli *cli, int argc, char **argv);
int cmd_cat(const struct cli *cli, int argc, char **argv);
int cmd_append(const struct cli *cli, int argc, char **argv);
int cmd_verify(const struct cli *cli, int argc, char **argv);

extern const char cmd_ls_help[];
extern const char cmd_stat_help[];
extern const char cmd_cat_help[];
extern const char cmd_append_help[];
extern const char cmd_verify_help[];

#endif
