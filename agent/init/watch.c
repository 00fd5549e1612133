/*
 * What can end a wait: the descriptors, the clock, a word from outside, the dead man's switch.
 * Signals are let in only while we wait, in ppoll(), so that none is missed between a look and
 * the next wait, and nothing else is interrupted.
 */
#include "hyper-init.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Overridden by tests, at compile time only: what runs in a container must not choose them. */
#ifndef HYPER_SWITCH_CHECK_MS
#define HYPER_SWITCH_CHECK_MS 30000
#endif
#ifndef HYPER_SWITCH_DEAD_MS
#define HYPER_SWITCH_DEAD_MS 600000
#endif

static bool only_from_outside; /* Whether a stop counts only when it comes from outside. */
static volatile sig_atomic_t stop_came;

/* Between two tries, where we cannot be told what is ready. */
#define TRY_MS 20
/* Far more than we ever use of it. */
#define STACK_BYTES 16384

#define STILL_LOOKS_MAX ((HYPER_SWITCH_DEAD_MS) / (HYPER_SWITCH_CHECK_MS))

/* Beside our program; empty where we cannot tell where that is: a switch that does not move. */
static char switch_path[PATH_MAX];

static struct {
  bool known;
  uint8_t counter[8];
  int64_t check_ms; /* When to look again. */
  int still_looks;  /* In a row, that saw the counter as it was; the first look does not count. */
} dead_man = {.still_looks = -1};

/* Monotonic time stands still while the host sleeps, as the agent's counter does. */
int64_t clock_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t after(int64_t from_ms, uint64_t length_ms) {
  return length_ms > (uint64_t)(NEVER - from_ms) ? NEVER : from_ms + (int64_t)length_ms;
}

int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

bool stop_requested(void) { return stop_came != 0; }

/*
 * "Stopped" means told from outside, and the agent runs such a call again. A signal from inside
 * the container has a sender in our namespace; one from outside has none.
 */
static void on_stop(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)context;
  if (!only_from_outside || info->si_pid == 0) stop_came = 1;
}

static void on_child(int signal) { (void)signal; /* Only to end ppoll(). */ }

void catch_stop(int signal) {
  if (signal == SIGKILL || signal == SIGSTOP || signal == SIGCHLD) return;
  struct sigaction action = {.sa_sigaction = on_stop, .sa_flags = SA_SIGINFO};
  sigfillset(&action.sa_mask);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, NULL);
  sigaction(signal, &action, NULL);
}

void wait_until(struct pollfd *fds, nfds_t count, int64_t at_ms) {
  int64_t wait_ms = earlier(at_ms, dead_man.check_ms) - clock_ms();
  if (wait_ms < 0) wait_ms = 0;
  struct timespec wait = {.tv_sec = (time_t)(wait_ms / 1000),
                          .tv_nsec = (long)(wait_ms % 1000) * 1000000};
  sigset_t open;
  sigemptyset(&open);
  int ready = ppoll(fds, count, &wait, &open);
  if (ready > 0) return;
  bool is_refused = ready < 0 && errno == EINVAL;
  for (nfds_t i = 0; i < count; i++) fds[i].revents = 0;
  if (!is_refused) return;
  /*
   * More descriptors than we may have: a process of our user can lower the limits of others. All
   * that we wait for can be tried without it, for none of it blocks.
   */
  if (wait_ms > TRY_MS) wait = (struct timespec){.tv_nsec = TRY_MS * 1000000};
  ppoll(NULL, 0, &wait, &open);
  for (nfds_t i = 0; i < count; i++) {
    if (fds[i].fd >= 0) fds[i].revents = fds[i].events;
  }
}

/*
 * A file that cannot be read is like a counter that does not move. It is opened anew for each look;
 * should a process have lowered our limit meanwhile, the one from the look before still reads.
 */
static bool counter_moved(void) {
  static int kept = -1;
  uint8_t counter[sizeof dead_man.counter];
  int fd = open(switch_path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0 && errno != EMFILE) return false;
  if (fd >= 0) {
    if (kept >= 0) close(kept);
    kept = fd;
  }
  ssize_t got = pread(kept, counter, sizeof counter, 0);
  if (got != (ssize_t)sizeof counter) return false;
  if (dead_man.known && memcmp(counter, dead_man.counter, sizeof counter) == 0) return false;
  dead_man.known = true;
  memcpy(dead_man.counter, counter, sizeof counter);
  return true;
}

/*
 * Counts looks, not time: while we are paused, alone or with the agent, nobody looks and nothing is
 * counted, however long it is. One that has come back has all the looks before it to turn the switch.
 */
bool agent_is_gone(void) {
  int64_t now_ms = clock_ms();
  if (now_ms >= dead_man.check_ms) {
    dead_man.still_looks = counter_moved() ? 0 : dead_man.still_looks + 1;
    dead_man.check_ms = now_ms + HYPER_SWITCH_CHECK_MS;
  }
  return dead_man.still_looks >= STILL_LOOKS_MAX;
}

/* A stack that may not grow any more is one that ends us at the next deeper call. */
static void grow_stack(void) {
  volatile uint8_t room[STACK_BYTES];
  for (size_t i = 0; i < sizeof room; i += 1024) room[i] = 0;
}

static void find_switch(const char *program) {
  static const char name[] = "/switch";
  const char *slash = program != NULL ? strrchr(program, '/') : NULL;
  if (slash == NULL || (size_t)(slash - program) > sizeof switch_path - sizeof name) return;
  memcpy(switch_path, program, (size_t)(slash - program));
  memcpy(switch_path + (slash - program), name, sizeof name);
}

void watch_begin(bool first_process, const char *program) {
  find_switch(program);
  only_from_outside = first_process;
  grow_stack();
  struct sigaction child = {.sa_handler = on_child}; /* Of stops, too: see let_go(). */
  struct sigaction ignore = {.sa_handler = SIG_IGN};
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGCHLD);
  sigprocmask(SIG_SETMASK, &blocked, NULL);
  sigaction(SIGCHLD, &child, NULL);
  sigaction(SIGPIPE, &ignore, NULL);
  const int stops[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
  for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) catch_stop(stops[i]);
  dead_man.check_ms = clock_ms();
}
