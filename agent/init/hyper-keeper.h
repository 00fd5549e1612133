/*
 * What the parts of hyper-keeper share: the container's files and root (keeper-mounts.c), its network
 * (keeper-link.c), its cgroups (keeper-cgroups.c), its start (keeper-start.c), what it writes
 * (keeper-streams.c), the life around them (hyper-keeper.c), and of what keepers are forked
 * (keeper-zygote.c).
 */
#ifndef HYPER_KEEPER_H
#define HYPER_KEEPER_H

#define _GNU_SOURCE

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What the agent gives a keeper (hyper-keeper.c), and a copy of the default runtime's program, where there is one. */
#define REPORT_FD 3
#define RUNTIME_FD 4

#define HOST_NAME_MAX_CHARS 64

/* Ends the keeper with what failed, and why, on STDERR. */
_Noreturn void fail(const char *what);

/* Ends with STDIN; returns, with an exit status, only where no keeper can be made. */
int be_zygote(char *program, const char *door, char *runtime);

/* A file system in memory at `t`, in a mount namespace of our own. */
void mount_memory(const char *bytes);

/* Writes the agent's files into it: `NAME SIZE\n` and so many bytes each, then an empty line. */
void take_files(int from);

/* Mounts the image's layers, and over them a folder in that memory, at `t/rootfs`. */
void mount_root(const char *folder, const char *layers, const char *lower);

/* Binds folders of that root as t/v0, t/v1 …, and makes those that are missing. Ends with NULL. */
void mount_volumes(char **volumes);

/*
 * Makes the network namespace that `t/net` is. Seven words (the bridge's namespace as a path, its name,
 * the gateway's address, first address as a number, how many there are, bits of the prefix, which
 * number to try first), or none for a container without a network.
 */
void link_container(char **link);
void unlink_container(void);

/* What ends the container: a byte in `kill`, or a signal. */
extern int kill_fd, signal_fd;

/* Whether one of the signals that came tells us to end the container. */
bool take_signals(void);

/* For a runtime that ends once the container runs. */
void make_lean(void);

/*
 * Has the runtime, its program and arguments, make the container with our pipes. The process whose end
 * is the container's: its PID 1, or gVisor's kernel. Ends the keeper where there is none.
 */
pid_t start_container(char **runtime, char *id);

#define STREAM_BYTES 65536

struct stream {
  const char *name;
  int from;   /* -1: it ended. */
  int to;     /* -1: nobody takes it. */
  int log;    /* -1: no more of it is kept. */
  size_t log_left;
  size_t at, end; /* What was read and not yet passed on. */
  uint8_t bytes[STREAM_BYTES];
};

/* STDOUT and STDERR. */
extern struct stream streams[2];

/* Makes its file, in the folder that we work in. */
void stream_open(struct stream *stream, size_t log_bytes);

/* Takes what is there, to be called where nothing waits to be passed on. */
void stream_pull(struct stream *stream);
void stream_push(struct stream *stream);

/* Nobody takes it any more. */
void stream_drop(struct stream *stream);

/* Folders of one cgroup, one a hierarchy; the list ends with NULL. */
extern char **cgroups;

/* Moves us out of the agent's cgroup: who stops its unit must not stop the container. */
void cgroups_leave_agent(char **cgroups);
void cgroups_kill(char **cgroups);
bool cgroups_ran_out(char **cgroups);
void cgroups_remove(char **cgroups);

#endif
