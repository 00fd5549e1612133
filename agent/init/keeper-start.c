/*
 * The start of a container by its runtime, which leaves it to us: we are the subreaper of all that it
 * starts. A start that fails, or is given up, tells why on STDERR and leaves nothing.
 */
#include "hyper-keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Of the runtime's log, and of its STDERR. */
#define WORDS_BYTES 4096
/* More than it takes: with a large configuration it collects after all. */
#define GO_BYTES "64MiB"
/* Whom a start that failed left: they end at once. */
#define CHILDREN_TRIES 100
#define CHILDREN_TRY_NS 5000000

/*
 * A runtime in Go that lives for milliseconds: threads for every core, and collecting what it leaves
 * behind, cost a twentieth of its CPU. Not for one that stays beside its container.
 */
void make_lean(void) {
  setenv("GOMAXPROCS", "1", 1);
  setenv("GOGC", "off", 1);
  setenv("GOMEMLIMIT", GO_BYTES, 1);
}

static _Noreturn void become_runtime(char **runtime, char *id, const int writes[2], pid_t keeper) {
  char *own[] = {"--root",   "state", "--log",      "runtime.log", "--log-format", "json", "run",
                 "--detach", "--bundle", ".", "--pid-file", "pid", id,      NULL};
  size_t count = 0;
  while (runtime[count] != NULL) count++;
  char *words[count + sizeof own / sizeof *own];
  memcpy(words, runtime, count * sizeof *words);
  memcpy(words + count, own, sizeof own);
  /* Who sees that we are gone looks once for what we left: the runtime must not make it after that. */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != keeper) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  dup2(writes[0], STDOUT_FILENO);
  dup2(writes[1], STDERR_FILENO);
  if (chdir("t") == 0) execv(*words, words);
  if (errno != ENOEXEC) fail(*runtime);
  /* The system's words for it are what a runtime says of an image for other machines. */
  dprintf(STDERR_FILENO, "%s is no program of this machine\n", *runtime);
  _exit(1);
}

static void tell(int from) {
  char words[WORDS_BYTES];
  ssize_t got = read(from, words, sizeof words);
  if (got > 0) dprintf(STDERR_FILENO, "%.*s\n", (int)got, words);
}

/* Nobody else sees the runtime's log, whose end says why, and what else it said, whose beginning does. */
static void tell_reason(void) {
  int log = open("t/runtime.log", O_RDONLY | O_CLOEXEC);
  if (log >= 0) {
    /* Refused where it is shorter. */
    lseek(log, -WORDS_BYTES, SEEK_END);
    tell(log);
    close(log);
  }
  tell(streams[1].from);
}

/*
 * A runtime with processes of its own around the container (gVisor's) leaves them when its start fails,
 * and perhaps not yet in the cgroup. As the subreaper of all of them we have them for children.
 */
static void end_children(void) {
  for (int tries = 0; tries < CHILDREN_TRIES && waitpid(-1, NULL, WNOHANG) >= 0; tries++) {
    FILE *list = fopen("/proc/thread-self/children", "re");
    for (int pid; list != NULL && fscanf(list, "%d", &pid) == 1;) kill(pid, SIGKILL);
    if (list != NULL) fclose(list);
    nanosleep(&(struct timespec){.tv_nsec = CHILDREN_TRY_NS}, NULL);
  }
}

static _Noreturn void give_up(void) {
  tell_reason();
  cgroups_kill(cgroups);
  end_children();
  cgroups_remove(cgroups);
  _exit(2);
}

pid_t start_container(char **runtime, char *id) {
  int writes[2];
  for (int i = 0; i < 2; i++) {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0) fail("no pipe");
    streams[i].from = ends[0];
    writes[i] = ends[1];
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
  }
  pid_t keeper = getpid(), child = fork();
  if (child < 0) fail("no process");
  if (child == 0) become_runtime(runtime, id, writes, keeper);
  close(writes[0]);
  close(writes[1]);
  close(STDIN_FILENO);
  int status;
  while (waitpid(child, &status, WNOHANG) == 0) {
    struct pollfd fds[3] = {{.fd = signal_fd, .events = POLLIN},
                            {.fd = kill_fd, .events = POLLIN},
                            {.fd = REPORT_FD, .events = POLLRDHUP}};
    poll(fds, 3, -1);
    if (take_signals() || fds[1].revents != 0 || fds[2].revents != 0) {
      kill(child, SIGKILL);
      /* Until it is gone it makes more. */
      waitpid(child, NULL, 0);
      give_up();
    }
  }
  FILE *file = status == 0 ? fopen("t/pid", "re") : NULL;
  int pid;
  if (file == NULL || fscanf(file, "%d", &pid) != 1) give_up();
  fclose(file);
  return pid;
}
