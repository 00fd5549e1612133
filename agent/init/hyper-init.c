/*
 * hyper-init: PID 1 of every function container. It reads one frame from STDIN, starts one
 * process, and says on both streams how that ended. There is no loop around this: a container
 * serves one call, or none.
 *
 *   waiting    reading the frame                    ─► exit 250 when none comes, or a broken one
 *   running    header written, process started      ─► its end, by itself or by us
 *   ended      everything left is killed and reaped
 *   reporting  trailers on both streams (marks.c)   ─► leaving; exit 1 when nobody took them
 *   leaving    until the agent closes STDIN         ─► exit 0 (leave.c)
 *
 * All waiting is done in ppoll() with the signals open only there, so that none is ever missed and
 * nothing else is interrupted. Descriptors 0 to 2 are shared with the function's process, so they
 * do not become non-blocking before it has ended.
 *
 * The nonces prove that header and trailer are ours. The process cannot read them from us: exec
 * replaces our memory, and /proc/1 is closed to it because we are not dumpable. It can open its own
 * STDOUT for reading and take the header back, so that one proves nothing about the trailer; when
 * the trailer is written, nobody is left who could.
 */
#include "hyper-init.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define REAP_MS 1000

static bool first_process;

/* ---- waiting ---- */

static bool await_input(int fd) {
  for (;;) {
    if (stop_requested() || agent_is_gone()) return false;
    struct pollfd input = {.fd = fd, .events = POLLIN};
    wait_until(&input, 1, NEVER);
    if (input.revents != 0) return true;
  }
}

/* ---- running ---- */

struct run {
  struct child child;
  const uint8_t *left; /* What of the payload is still to be fed. */
  size_t left_bytes;
  int64_t deadline_ms; /* Of the function, counted from its exec. */
  int64_t kill_ms;     /* When a stop that was not obeyed becomes a kill. */
  int exec_errno;
  struct ending ending;
};

static void close_once(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

/* The process leads a session, so it cannot leave its group; it may not have got there yet. */
static void signal_child(const struct run *run, int signal) {
  if (kill(-run->child.pid, signal) < 0) kill(run->child.pid, signal);
}

/* Any error means that the process wants no more of its STDIN, which is its right. */
static void feed(struct run *run) {
  while (run->left_bytes > 0) {
    ssize_t taken = write(run->child.feed_fd, run->left, run->left_bytes);
    if (taken < 0 && errno == EINTR) continue;
    if (taken < 0 && errno == EAGAIN) return;
    if (taken < 0) break;
    run->left += taken;
    run->left_bytes -= (size_t)taken;
  }
  close_once(&run->child.feed_fd);
}

static void learn_of_exec(struct run *run, const struct frame *frame) {
  int reason;
  if (run->child.exec_fd < 0) return;
  ssize_t got = read(run->child.exec_fd, &reason, sizeof reason);
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (got == (ssize_t)sizeof reason) run->exec_errno = reason;
  else if (frame->timeout_ms > 0) run->deadline_ms = after(clock_ms(), frame->timeout_ms);
  close_once(&run->child.exec_fd);
}

/*
 * A process may ask its parent to trace it, and we may be that parent: it then stops at every
 * signal. It gets no tracer, and its signal; but not the trap with which an exec under trace stops.
 * Where we are not allowed even that, it would stand still for ever, and is killed.
 */
static void let_go(pid_t traced, int signal) {
  long passed_on = signal == SIGTRAP ? 0 : signal;
  if (ptrace(PTRACE_DETACH, traced, NULL, passed_on) < 0) kill(traced, SIGKILL);
}

/*
 * Reaps what was left to us, until it finds the function's process. That one is only looked at:
 * while it is not reaped, the number of its group cannot belong to anyone else.
 */
static bool child_ended(struct run *run) {
  for (;;) {
    siginfo_t ended = {.si_pid = 0};
    if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) < 0 || ended.si_pid == 0) return false;
    if (ended.si_code == CLD_TRAPPED) {
      let_go(ended.si_pid, ended.si_status);
      continue;
    }
    if (ended.si_pid == run->child.pid) {
      run->ending.by_signal = ended.si_code != CLD_EXITED;
      run->ending.status = ended.si_status;
      return true;
    }
    waitpid(ended.si_pid, NULL, WNOHANG);
  }
}

static void begin_stop(struct run *run, enum reason reason, int signal, int64_t now_ms) {
  run->ending.reason = reason;
  run->kill_ms = now_ms + HYPER_STOP_GRACE_MS;
  signal_child(run, signal);
}

static void keep_time(struct run *run, const struct frame *frame) {
  int64_t now_ms = clock_ms();
  if (agent_is_gone() && run->ending.reason != ORPHANED) {
    run->kill_ms = now_ms;
    if (run->ending.reason == RUNNING) run->ending.reason = ORPHANED;
  } else if (run->ending.reason == RUNNING && stop_requested()) {
    begin_stop(run, STOPPED, frame->stop_signal, now_ms);
  } else if (run->ending.reason == RUNNING && now_ms >= run->deadline_ms) {
    begin_stop(run, TIMEOUT, frame->stop_signal, now_ms);
  }
  if (now_ms >= run->kill_ms) {
    signal_child(run, SIGKILL);
    run->kill_ms = NEVER;
  }
}

static void run_to_its_end(struct run *run, const struct frame *frame) {
  feed(run);
  while (!child_ended(run)) {
    keep_time(run, frame);
    struct pollfd fds[2] = {{.fd = run->child.exec_fd, .events = POLLIN},
                            {.fd = run->child.feed_fd, .events = POLLOUT}};
    int64_t stop_ms = run->ending.reason == RUNNING ? run->deadline_ms : NEVER;
    wait_until(fds, 2, earlier(run->kill_ms, stop_ms));
    if (fds[0].revents != 0) learn_of_exec(run, frame);
    if (fds[1].revents != 0) feed(run);
  }
  learn_of_exec(run, frame); /* Its end may have been seen before its message. */
  close_once(&run->child.feed_fd);
  if (run->exec_errno != 0) {
    run->ending.reason = EXEC_FAILED;
    run->ending.by_signal = false;
    run->ending.status = run->exec_errno;
  } else if (run->ending.reason == RUNNING) {
    run->ending.reason = run->ending.by_signal ? SIGNALLED : EXITED;
  }
}

/* ---- ended ---- */

/* In a container all that runs is the function's. Elsewhere kill(-1) would end the machine. */
static void kill_the_rest(const struct run *run) {
  kill(first_process ? -1 : -run->child.pid, SIGKILL);
}

static void end_all(const struct run *run) {
  int64_t until_ms = clock_ms() + REAP_MS;
  kill_the_rest(run);
  waitpid(run->child.pid, NULL, 0);
  for (;;) {
    pid_t reaped = waitpid(-1, NULL, WNOHANG);
    if (reaped > 0) continue;
    if (reaped < 0 || clock_ms() >= until_ms) return;
    if (first_process) kill_the_rest(run);
    wait_until(NULL, 0, until_ms);
  }
}

/* ---- the life ---- */

/* What a runtime may have left open is none of the function's business. */
static void close_strays(void) {
#ifdef SYS_close_range
  if (syscall(SYS_close_range, 3u, ~0u, 0u) == 0) return;
#endif
  DIR *folder = opendir("/proc/self/fd");
  if (folder == NULL) return;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    int fd = atoi(entry->d_name);
    if (fd > STDERR_FILENO && fd != dirfd(folder)) close(fd);
  }
  closedir(folder);
}

int main(int argc, char **argv) {
  close_strays();
  prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
  first_process = getpid() == 1;
  watch_begin(first_process, argc > 0 ? argv[0] : NULL);

  static struct frame frame;
  if (!frame_read(STDIN_FILENO, &frame, await_input)) return EXIT_NEVER_STARTED;
  catch_stop(frame.stop_signal);
  struct run run = {.left = frame.payload,
                    .left_bytes = frame.payload_bytes,
                    .deadline_ms = NEVER,
                    .kill_ms = NEVER};
  if (!write_headers(&frame) || !child_start(&frame, &run.child)) return EXIT_NEVER_STARTED;

  run_to_its_end(&run, &frame);
  end_all(&run);
  if (!write_trailers(&run.ending, &frame, run.deadline_ms)) return 1;
  leave(first_process);
  return 0;
}
