/*
 * hyper-keeper: starts one container by the OCI runtime on the layers of its image, and stays beside
 * it until its end, also when the agent is gone. Its folder is all that there is of the container:
 *
 *   labels.json  by the agent, as is the folder
 *   t/           memory that only the keeper and what it starts see: files of the agent's (config.json,
 *                hosts, hostname, resolv.conf), the runtime's (state/, pid, runtime.log), the root
 *   stdout, stderr   what the container wrote, byte for byte, as far as the bound
 *   kill         FIFO: a byte in it ends the container, as does a SIGTERM to the keeper
 *   alive        FIFO that is open for writing for as long as the keeper lives
 *   end          exit status and whether memory ran out, once the container has ended
 *
 *   mounting   a mount namespace of our own: memory, the agent's files in it, the image's layers and a
 *              folder in memory over them; t/v0, t/v1 … are those folders of it that are the image's
 *              volumes: they stay writable where the root does not
 *   linking    where it has a network: a namespace with an interface at the agent's bridge
 *   starting   the runtime makes the container with our pipes; a kill ends it      ─► exit 2
 *   keeping    what it writes goes to the files first, as far as the bound and while the disk takes it,
 *              and then to the agent, if there is one: up to there the files have all that it ever saw.
 *              Nobody reads: nothing more is read
 *   ended      all processes were reaped, both pipes ended: cgroups removed, `end` written  ─► exit 0
 *
 * The mounts live in the namespace, so they go with us, whatever ends us. Descriptors: 0 becomes the
 * container's STDIN, 1 and 2 go to the agent, 3 gives the agent's files, takes one line when the
 * container runs, and closes with us. Whoever ends it before that line gives the start up.
 *
 *   hyper-keeper FOLDER LAYERS LOWER ROOT_BYTES LOG_BYTES ID CGROUP…
 *                -- [VOLUME…] -- [NAMESPACE BRIDGE GATEWAY FIRST COUNT PREFIX NUMBER]
 *                -- [NAMED_RUNTIME [WORD…]] -- RUNTIME
 *
 * A named runtime is started in the place of the default one, which the zygote has a copy of.
 *
 * LOWER names the layers as overlay does, relative to LAYERS: full names would not fit into a page.
 */
#include "hyper-keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The agent has this long to take what was written, once the container ended. */
#define FLUSH_MS 10000
#define END_BYTES 8

char **cgroups;
int kill_fd, signal_fd;
static int end_fd;

_Noreturn void fail(const char *what) {
  dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
  _exit(1);
}

bool take_signals(void) {
  struct signalfd_siginfo info;
  bool is_told = false;
  while (read(signal_fd, &info, sizeof info) > 0) is_told |= info.ssi_signo == SIGTERM;
  return is_told;
}

/* ---- keeping ---- */

/* One turn: false when there was nothing to do for so long. */
static bool turn(int timeout_ms, bool *is_killed) {
  struct pollfd fds[6];
  int count = 0;
  fds[count++] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
  fds[count++] = (struct pollfd){.fd = *is_killed ? -1 : kill_fd, .events = POLLIN};
  for (int i = 0; i < 2; i++) {
    bool is_full = streams[i].end > 0;
    fds[count++] = (struct pollfd){.fd = is_full ? -1 : streams[i].from, .events = POLLIN};
    fds[count++] = (struct pollfd){.fd = is_full ? streams[i].to : -1, .events = POLLOUT};
  }
  if (poll(fds, (nfds_t)count, timeout_ms) == 0) return false;
  if (take_signals() || fds[1].revents != 0) *is_killed = true;
  for (int i = 0; i < 2; i++) {
    if (fds[2 + 2 * i].revents != 0) stream_pull(&streams[i]);
    if (streams[i].end > 0) stream_push(&streams[i]);
  }
  return true;
}

/* Whether all have ended. `first` is 0 once it was reaped: its number may be another's then. */
static bool is_reaped(pid_t *first, int *status) {
  for (;;) {
    int how;
    pid_t pid = waitpid(-1, &how, WNOHANG);
    if (pid <= 0) return pid < 0;
    if (pid != *first) continue;
    *status = how;
    *first = 0;
  }
}

static void write_end(int status, bool ran_out) {
  int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  char words[END_BYTES];
  int length = snprintf(words, sizeof words, "%d %d\n", code, ran_out ? 1 : 0);
  if (write(end_fd, words, (size_t)length) == length && ftruncate(end_fd, length) == 0)
    rename("end.new", "end");
}

static void run(pid_t first) {
  int status = 0;
  bool is_killed = false, was_killed = false, is_over = is_reaped(&first, &status);
  while (!is_over || streams[0].from >= 0 || streams[1].from >= 0) {
    turn(-1, &is_killed);
    if (is_killed && !was_killed) {
      was_killed = true;
      if (first > 0) kill(first, SIGKILL);
      for (int i = 0; i < 2; i++) stream_drop(&streams[i]);
    }
    is_over = is_over || is_reaped(&first, &status);
    /* gVisor's other process serves nobody then. */
    if (first == 0 && !is_over) cgroups_kill(cgroups);
  }
  bool ran_out = cgroups_ran_out(cgroups);
  cgroups_remove(cgroups);
  unlink_container();
  write_end(status, ran_out); /* Who reads it looks for nothing more of us. */
  while (streams[0].end > 0 || streams[1].end > 0) {
    if (!turn(FLUSH_MS, &is_killed) || is_killed) return;
  }
}

/* ---- the life ---- */

static void open_all(size_t log_bytes) {
  if (mkfifo("kill", 0600) < 0 || mkfifo("alive", 0600) < 0) fail("no FIFO");
  kill_fd = open("kill", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (kill_fd < 0 || open("alive", O_RDWR | O_CLOEXEC) < 0) fail("no FIFO");
  for (int i = 0; i < 2; i++) stream_open(&streams[i], log_bytes);
  /* Now, because the disk may be full by then, and nobody would know how it ended. */
  end_fd = open("end.new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (end_fd < 0 || (errno = posix_fallocate(end_fd, 0, END_BYTES)) != 0) fail("no file for its end");
  sigset_t awaited;
  sigemptyset(&awaited);
  sigaddset(&awaited, SIGCHLD);
  sigaddset(&awaited, SIGTERM);
  sigprocmask(SIG_BLOCK, &awaited, NULL);
  signal_fd = signalfd(-1, &awaited, SFD_NONBLOCK | SFD_CLOEXEC);
  if (signal_fd < 0) fail("no signals");
}

/* Ends a list of arguments at its `--`. What comes after it; NULL where there is none. */
static char **end_list(char **list) {
  while (*list != NULL && strcmp(*list, "--") != 0) list++;
  if (*list == NULL) return NULL;
  *list = NULL;
  return list + 1;
}

int main(int argc, char **argv) {
  if (argc == 4 && strcmp(argv[1], "--zygote") == 0) return be_zygote(argv[0], argv[2], argv[3]);
  if (argc < 13) return 64;
  char *folder = argv[1], *id = argv[6];
  cgroups = argv + 7;
  char **volumes = end_list(cgroups);
  char **link = volumes == NULL ? NULL : end_list(volumes);
  char **named = link == NULL ? NULL : end_list(link);
  char **default_runtime = named == NULL ? NULL : end_list(named);
  if (default_runtime == NULL || *default_runtime == NULL) return 64;
  char **runtime = *named == NULL ? default_runtime : named;
  if (runtime == default_runtime) make_lean();

  cgroups_leave_agent(cgroups);
  setsid();
  umask(0);
  signal(SIGPIPE, SIG_IGN);
  fcntl(REPORT_FD, F_SETFD, FD_CLOEXEC);
  fcntl(RUNTIME_FD, F_SETFD, FD_CLOEXEC);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0 || chdir(folder) < 0) fail(folder);
  open_all((size_t)strtoull(argv[5], NULL, 10));
  mount_memory(argv[4]);
  take_files(REPORT_FD);
  mount_root(folder, argv[2], argv[3]);
  mount_volumes(volumes);
  link_container(link);
  pid_t first = start_container(runtime, id);
  dprintf(REPORT_FD, "started\n");
  run(first);
  return 0;
}
