/*
 * The cgroups of a container: who is in them, whether memory ran out, and their end. And one for
 * keepers, beside them.
 */
#include "hyper-keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* A cgroup is busy for moments after its last process. */
#define CGROUP_TRIES 100
#define CGROUP_TRY_NS 10000000

/*
 * Whether systemd knows by this hierarchy which processes are a unit's. The others stay as they are:
 * they cost as much to leave, and some take nobody in before they are set up.
 */
static bool is_of_units(const char *hierarchy) {
  struct statfs about;
  bool is_unified = statfs(hierarchy, &about) == 0 && about.f_type == CGROUP2_SUPER_MAGIC;
  return is_unified || strcmp(strrchr(hierarchy, '/'), "/systemd") == 0;
}

/* Moves us into `keepers` of this parent of containers' cgroups. */
static void join_keepers(const char *parent) {
  /* One thread is all of us, and to move it alone waits for no other process; version 2 has no such. */
  static const char *const NAMES[] = {"tasks", "cgroup.procs"};
  char path[4096];
  snprintf(path, sizeof path, "%s/keepers", parent);
  mkdir(parent, 0755);
  if (mkdir(path, 0755) < 0 && errno != EEXIST) fail(path);
  int file = -1;
  for (int i = 0; i < 2 && file < 0; i++) {
    snprintf(path, sizeof path, "%s/keepers/%s", parent, NAMES[i]);
    file = open(path, O_WRONLY | O_CLOEXEC);
  }
  if (file < 0 || write(file, "0", 1) != 1) fail(path);
  close(file);
}

void cgroups_leave_agent(char **cgroups) {
  for (char **cgroup = cgroups; *cgroup != NULL; cgroup++) {
    char parent[2048];
    snprintf(parent, sizeof parent, "%s", *cgroup);
    *strrchr(parent, '/') = '\0';
    char *name = strrchr(parent, '/');
    *name = '\0';
    bool is_left = is_of_units(parent);
    *name = '/';
    if (is_left) join_keepers(parent);
  }
}

static FILE *open_in(const char *cgroup, const char *name) {
  char path[4096];
  snprintf(path, sizeof path, "%s/%s", cgroup, name);
  return fopen(path, "re");
}

void cgroups_kill(char **cgroups) {
  for (char **cgroup = cgroups; *cgroup != NULL; cgroup++) {
    FILE *list = open_in(*cgroup, "cgroup.procs");
    if (list == NULL) continue;
    for (int pid; fscanf(list, "%d", &pid) == 1;) {
      if (pid > 1) kill(pid, SIGKILL);
    }
    fclose(list);
  }
}

bool cgroups_ran_out(char **cgroups) {
  static const char *const NAMES[] = {"memory.events", "memory.oom_control"};
  bool ran_out = false;
  for (char **cgroup = cgroups; *cgroup != NULL; cgroup++) {
    for (int i = 0; i < 2; i++) {
      FILE *events = open_in(*cgroup, NAMES[i]);
      if (events == NULL) continue;
      char word[64];
      long count;
      while (fscanf(events, "%63s %ld", word, &count) == 2) {
        if (strcmp(word, "oom_kill") == 0 && count > 0) ran_out = true;
      }
      fclose(events);
    }
  }
  return ran_out;
}

void cgroups_remove(char **cgroups) {
  for (char **cgroup = cgroups; *cgroup != NULL; cgroup++) {
    for (int tries = 0; rmdir(*cgroup) < 0 && errno == EBUSY && tries < CGROUP_TRIES; tries++) {
      cgroups_kill(cgroups);
      nanosleep(&(struct timespec){.tv_nsec = CGROUP_TRY_NS}, NULL);
    }
  }
}
