/*
 * What the parts of hyper-keeper share: the container's root (keeper-mounts.c), its cgroups
 * (keeper-cgroups.c), and the life around them (hyper-keeper.c).
 */
#ifndef HYPER_KEEPER_H
#define HYPER_KEEPER_H

#define _GNU_SOURCE

#include <stdbool.h>

/* Ends the keeper with what failed, and why, on STDERR. */
_Noreturn void fail(const char *what);

/* Mounts `rootfs` in the folder, in a mount namespace of our own. Works in the folder before and after. */
void mount_root(const char *folder, const char *layers, const char *lower, const char *root_bytes);

/* Binds folders of that root as v0, v1 …, and makes those that are missing. The list ends with NULL. */
void mount_volumes(char **volumes);

/* Folders of one cgroup, one a hierarchy; the list ends with NULL. */
void cgroups_kill(char **cgroups);
bool cgroups_ran_out(char **cgroups);
void cgroups_remove(char **cgroups);

#endif
