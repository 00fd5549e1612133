/* The cgroups of a container: who is in them, whether memory ran out, and their end. */
#include "hyper-keeper.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A cgroup is busy for moments after its last process. */
#define CGROUP_TRIES 100
#define TRY_NS 10000000

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
      nanosleep(&(struct timespec){.tv_nsec = TRY_NS}, NULL);
    }
  }
}
