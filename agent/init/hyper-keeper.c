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
 *                -- [VOLUME…] -- [NAMESPACE BRIDGE GATEWAY FIRST COUNT PREFIX NUMBER] -- RUNTIME
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

#define CHUNK_BYTES 65536
/* The agent has this long to take what was written, once the container ended. */
#define FLUSH_MS 10000
/* Of the runtime's log, and of its STDERR. */
#define WORDS_BYTES 4096
#define END_BYTES 8

struct stream {
  const char *name;
  int from;   /* -1: it ended. */
  int to;     /* -1: nobody takes it. */
  int log;    /* -1: no more of it is kept. */
  size_t log_left;
  size_t at, end; /* What was read and not yet passed on. */
  uint8_t bytes[CHUNK_BYTES];
};

static struct stream streams[2] = {{.name = "stdout", .to = STDOUT_FILENO},
                                   {.name = "stderr", .to = STDERR_FILENO}};
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

static _Noreturn void become_runtime(const char *runtime, const char *id, const int writes[2],
                                     pid_t keeper) {
  /* Who sees that we are gone looks once for what we left: the runtime must not make it after that. */
  if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != keeper) _exit(127);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  signal(SIGPIPE, SIG_DFL);
  dup2(writes[0], STDOUT_FILENO);
  dup2(writes[1], STDERR_FILENO);
  if (chdir("t") == 0)
    execl(runtime, runtime, "--root", "state", "--log", "runtime.log", "--log-format", "json", "run",
          "--detach", "--bundle", ".", "--pid-file", "pid", id, NULL);
  if (errno != ENOEXEC) fail(runtime);
  /* The system's words for it are what a runtime says of an image for other machines. */
  dprintf(STDERR_FILENO, "%s is no program of this machine\n", runtime);
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

static _Noreturn void give_up(void) {
  tell_reason();
  cgroups_kill(cgroups);
  cgroups_remove(cgroups);
  _exit(2);
}

/* PID 1 of the container. */
static pid_t start(const char *runtime, const char *id) {
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

static void drop(struct stream *stream) {
  stream->to = -1;
  stream->at = stream->end = 0;
}

static void keep(struct stream *stream) {
  size_t kept = 0;
  size_t count = stream->end < stream->log_left ? stream->end : stream->log_left;
  while (stream->log >= 0 && kept < count) {
    ssize_t took = write(stream->log, stream->bytes + kept, count - kept);
    if (took < 0 && errno == EINTR) continue;
    if (took < 0) stream->log = -1;
    else kept += (size_t)took;
  }
  stream->log_left -= kept;
}

static void pull(struct stream *stream) {
  ssize_t got = read(stream->from, stream->bytes, sizeof stream->bytes);
  if (got < 0) return;
  if (got == 0) {
    close(stream->from);
    stream->from = -1;
    return;
  }
  stream->at = 0;
  stream->end = (size_t)got;
  keep(stream);
  if (stream->to < 0) drop(stream);
}

static void push(struct stream *stream) {
  ssize_t took = write(stream->to, stream->bytes + stream->at, stream->end - stream->at);
  if (took < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (took < 0) drop(stream);
  else stream->at += (size_t)took;
  if (stream->at == stream->end) stream->at = stream->end = 0;
}

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
    if (fds[2 + 2 * i].revents != 0) pull(&streams[i]);
    if (streams[i].end > 0) push(&streams[i]);
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
      for (int i = 0; i < 2; i++) drop(&streams[i]);
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

static void open_all(size_t log_bytes) {
  if (mkfifo("kill", 0600) < 0 || mkfifo("alive", 0600) < 0) fail("no FIFO");
  kill_fd = open("kill", O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (kill_fd < 0 || open("alive", O_RDWR | O_CLOEXEC) < 0) fail("no FIFO");
  for (int i = 0; i < 2; i++) {
    streams[i].log = open(streams[i].name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (streams[i].log < 0) fail("no file for what it writes");
    streams[i].log_left = log_bytes;
    fcntl(streams[i].to, F_SETFL, fcntl(streams[i].to, F_GETFL) | O_NONBLOCK);
  }
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
  const char *folder = argv[1], *id = argv[6];
  cgroups = argv + 7;
  char **volumes = end_list(cgroups);
  char **link = volumes == NULL ? NULL : end_list(volumes);
  char **runtime = link == NULL ? NULL : end_list(link);
  if (runtime == NULL || *runtime == NULL) return 64;

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
  pid_t first = start(*runtime, id);
  dprintf(REPORT_FD, "started\n");
  run(first);
  return 0;
}
