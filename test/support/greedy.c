/*
 * A function that takes what is counted by no one but the kernel: descriptors, files, folders in
 * folders. Or that turns all it may of its PID 1 against it. Argument: which.
 */
#define _GNU_SOURCE /* prlimit, CPU sets */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FOLDERS 3000
/* Far more than there may be at a time. */
#define ORPHANS 1000

/* All it can get, by pipes, each of them full: the kernel holds what is in them. */
static int take_descriptors(void) {
  static char bytes[65536];
  struct rlimit most;
  getrlimit(RLIMIT_NOFILE, &most);
  most.rlim_cur = most.rlim_max;
  setrlimit(RLIMIT_NOFILE, &most);
  long taken = 0;
  int ends[2];
  while (pipe2(ends, O_NONBLOCK) == 0) {
    taken += 2;
    if (write(ends[1], bytes, sizeof bytes) < 0) break;
  }
  printf("%ld %s\n", taken, strerror(errno));
  return 0;
}

static _Noreturn void make_files(void) {
  char name[32];
  for (long i = 0;; i++) {
    snprintf(name, sizeof name, "/home/%ld", i);
    int fd = open(name, O_CREAT | O_WRONLY, 0);
    if (fd >= 0) close(fd);
  }
}

/* Far deeper than any path can be long. */
static int nest_folders(void) {
  static char name[201];
  memset(name, 'a', sizeof name - 1);
  if (chdir("/home") < 0) return 3;
  for (int i = 0; i < FOLDERS; i++) {
    if (mkdir(name, 0755) < 0 || chdir(name) < 0) return 4;
  }
  int fd = open("file", O_CREAT | O_WRONLY, 0600);
  printf("%d\n", fd >= 0 ? FOLDERS : 0);
  return 0;
}

/* Of the same user, it may lower PID 1's limits and priority, and choose it for the next kill. */
static int turn_on_init(void) {
  const int all[] = {RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_NPROC,   RLIMIT_STACK, RLIMIT_AS,
                     RLIMIT_DATA,   RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_MEMLOCK};
  int lowered = 0;
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    lowered += prlimit(1, all[i], &(struct rlimit){0, 0}, NULL) == 0;
  }
  setpriority(PRIO_PROCESS, 1, 19);
  sched_setscheduler(1, SCHED_IDLE, &(struct sched_param){0});
  int fd = open("/proc/1/oom_score_adj", O_WRONLY);
  if (fd >= 0 && write(fd, "1000", 4) == 4) lowered++;
  printf("%d\n", lowered);
  return 0;
}

/* The kernel ends whoever has used up its CPU time, PID 1 as well; we see to it that it does. */
static _Noreturn void use_up_init(void) {
  prlimit(1, RLIMIT_CPU, &(struct rlimit){1, 1}, NULL);
  for (;;) kill(1, SIGCHLD);
}

/* Work for PID 1: what ends after its parent is left to it. Without that work no more can be made. */
static int leave_orphans(void) {
  int left = 0;
  for (int tries = 0; left < ORPHANS && tries < 10 * ORPHANS; tries++) {
    int status = 1;
    pid_t child = fork();
    if (child == 0) _exit(fork() < 0);
    if (child > 0) waitpid(child, &status, 0);
    if (status == 0) left++;
    else usleep(1000);
  }
  printf("%d\n", left);
  return 0;
}

int main(int argc, char **argv) {
  const char *what = argc == 2 ? argv[1] : "";
  if (strcmp(what, "descriptors") == 0) return take_descriptors();
  if (strcmp(what, "files") == 0) make_files();
  if (strcmp(what, "folders") == 0) return nest_folders();
  if (strcmp(what, "init") == 0) return turn_on_init();
  if (strcmp(what, "orphans") == 0) return leave_orphans();
  if (strcmp(what, "time") == 0) use_up_init();
  return 2;
}
