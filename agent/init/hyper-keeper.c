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
 *   ended      PID 1 was reaped, both pipes ended: cgroups removed, `end` written  ─► exit 0
 *
 * The mounts live in the namespace, so they go with us, whatever ends us. Descriptors: 0 becomes the
 * container's STDIN, 1 and 2 go to the agent, 3 gives the agent's files, takes one line when the
 * container runs, and closes with us. Whoever ends it before that line gives the start up.
 *
 *   hyper-keeper FOLDER LAYERS LOWER ROOT_BYTES LOG_BYTES ID CGROUP…
 *                -- [VOLUME…] -- [NAMESPACE BRIDGE GATEWAY FIRST COUNT PREFIX NUMBER]
 *                -- [NAMED_RUNTIME [WORD…]] -- RUNTIME
 *
 * A named runtime is started in the place of the standard one, which the zygote has a copy of. LOWER names the layers as overlay does, relative to LAYERS: full names would not fit into a page.
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
#include <time.h>
#include <unistd.h>

/* The agent has this long to take what was written, once the container ended. */
#define FLUSH_MS 10000
/* Of the runtime's log, and of its STDERR. */
#define WORDS_BYTES 4096
#define END_BYTES 8
/* As many as an engine's operator tells a runtime. */
#define RUNTIME_WORDS_MAX 32
/* More than it takes: with a large configuration it collects after all. */
#define GO_BYTES "64MiB"
/* Whom a start that failed left: they end at once. */
#define CHILDREN_TRIES 100
#define TRY_NS 5000000

static char **cgroups; /* Ends with NULL. */
static int kill_fd, signal_fd, end_fd;

_Noreturn void fail(const char *what) {
  dprintf(STDERR_FILENO, "%s: %s\n", what, strerror(errno));
  _exit(1);
}

/* ---- signals ---- */

/* Whether one of those that came tells us to end the container. */
static bool take_signals(void) {
  struct signalfd_siginfo info;
  bool is_told = false;
  while (read(signal_fd, &info, sizeof info) > 0) is_told |= info.ssi_signo == SIGTERM;
  return is_told;
}

/* ---- starting ---- */

static _Noreturn void become_runtime(char **runtime, char *id, const int writes[2], pid_t keeper) {
  char *own[] = {"--root",   "state", "--log",      "runtime.log", "--log-format", "json", "run",
                 "--detach", "--bundle", ".", "--pid-file", "pid", id,      NULL};
  char *words[RUNTIME_WORDS_MAX + sizeof own / sizeof *own];
  int count = 0;
  for (; runtime[count] != NULL && count < RUNTIME_WORDS_MAX; count++) words[count] = runtime[count];
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
    nanosleep(&(struct timespec){.tv_nsec = TRY_NS}, NULL);
  }
}

static _Noreturn void give_up(void) {
  tell_reason();
  cgroups_kill(cgroups);
  end_children();
  cgroups_remove(cgroups);
  _exit(2);
}

/* PID 1 of the container. */
static pid_t start(char **runtime, char *id) {
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

static bool is_reaped(pid_t first, int *status) {
  for (;;) {
    int how;
    pid_t pid = waitpid(-1, &how, WNOHANG);
    if (pid <= 0) return pid < 0;
    if (pid == first) *status = how;
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
  bool is_killed = false, was_killed = false, is_over = is_reaped(first, &status);
  while (!is_over || streams[0].from >= 0 || streams[1].from >= 0) {
    turn(-1, &is_killed);
    if (is_killed && !was_killed) {
      was_killed = true;
      /* Once it was reaped, its number may be another's. */
      if (!is_over) kill(first, SIGKILL);
      for (int i = 0; i < 2; i++) stream_drop(&streams[i]);
    }
    is_over = is_over || is_reaped(first, &status);
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

/*
 * A runtime in Go that lives for milliseconds: threads for every core, and collecting what it leaves
 * behind, cost a twentieth of its CPU. Not for one that stays beside its container.
 */
static void start_lean(void) {
  setenv("GOMAXPROCS", "1", 1);
  setenv("GOGC", "off", 1);
  setenv("GOMEMLIMIT", GO_BYTES, 1);
}

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
  if (argc < 11) return 64;
  char *folder = argv[1], *id = argv[6];
  cgroups = argv + 7;
  char **volumes = end_list(cgroups);
  char **link = volumes == NULL ? NULL : end_list(volumes);
  char **named = link == NULL ? NULL : end_list(link);
  char **standard = named == NULL ? NULL : end_list(named);
  if (standard == NULL || *standard == NULL) return 64;
  char **runtime = *named == NULL ? standard : named;
  if (runtime == standard) start_lean();

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
  pid_t first = start(runtime, id);
  dprintf(REPORT_FD, "started\n");
  run(first);
  return 0;
}
