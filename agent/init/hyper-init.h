/*
 * What the parts of hyper-init share: the frame (frame.c), the function's process (child.c),
 * what can end a wait (watch.c), header and trailers (marks.c), the time after all is told (leave.c),
 * and the life of PID 1 around them (hyper-init.c). The byte layout of everything that crosses a stream is described once, at the
 * top of frame.ts.
 */
#ifndef HYPER_INIT_H
#define HYPER_INIT_H

#define _GNU_SOURCE /* ppoll, pipe2 */

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define NONCE_BYTES 16
#define CALL_ID_BYTES 16

/* The process was never started. Used for nothing else: the agent takes it for proof. */
#define EXIT_NEVER_STARTED 250

struct frame {
  uint8_t header_nonce[NONCE_BYTES];
  uint8_t trailer_nonce[NONCE_BYTES];
  uint8_t call_id[CALL_ID_BYTES];
  uint8_t attempt[4]; /* As it came: it is only handed back in the header. */
  uint64_t timeout_ms;
  int stop_signal;
  char **argv;        /* Ends with NULL. */
  char **environment; /* What the frame adds, ends with NULL. */
  uint8_t *payload;
  size_t payload_bytes;
};

/*
 * Reads exactly one frame. `await_input` returns when the descriptor may be read, or false when
 * there is no more reason to wait. False means that no whole, sound frame came.
 */
bool frame_read(int fd, struct frame *frame, bool (*await_input)(int fd));

struct child {
  pid_t pid;
  int feed_fd; /* Our end of its STDIN: non-blocking. */
  int exec_fd; /* Ends when the command was executed, or brings the errno that prevented it. */
};

/* Forks and executes the command of the frame. False: there is no process. */
bool child_start(const struct frame *frame, struct child *child);

#define NEVER INT64_MAX

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t clock_ms(void);
int64_t after(int64_t from_ms, uint64_t length_ms);
int64_t earlier(int64_t a, int64_t b);

/*
 * To be called first, once. `first_process`: we are PID 1 of a namespace of our own.
 * `program`: our own path, which the dead man's switch lies beside; may be NULL.
 */
void watch_begin(bool first_process, const char *program);

/* Lets one more signal mean "stop". */
void catch_stop(int signal);

/*
 * Waits for the descriptors, a signal, the next look at the switch, or the time, whichever comes
 * first. Only `revents` tells of the descriptors; the rest is asked for afterwards.
 */
void wait_until(struct pollfd *fds, nfds_t count, int64_t at_ms);

/* Whether we were told from outside to stop. */
bool stop_requested(void);

/* Whether the agent's counter has not moved for so long that there is no agent any more. */
bool agent_is_gone(void);

/* Overridden by tests, at compile time only: what runs in a container must not choose it. */
#ifndef HYPER_STOP_GRACE_MS
#define HYPER_STOP_GRACE_MS 10000
#endif

enum reason { RUNNING = 0, EXITED = 1, SIGNALLED, EXEC_FAILED, TIMEOUT, STOPPED, ORPHANED };

struct ending {
  enum reason reason;
  bool by_signal;
  int status; /* Of its end; the errno where it could not be executed. */
};

/* On both streams, before the process writes. */
bool write_headers(const struct frame *frame);

/* On both streams, once nobody else is left; `deadline_ms`: the function's, or NEVER. */
bool write_trailers(const struct ending *ending, const struct frame *frame, int64_t deadline_ms);

/* To be called once all is told, last: returns when we may end. */
void leave(bool first_process);

#endif
