/*
 * The two marks around what the process writes: header before it, trailer after it. marks.ts reads them.
 */
#include "hyper-init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

static const uint8_t HEADER_MAGIC[8] = {0x89, 'H', 'Y', 'H', 'D', 'R', '1', '\n'};

/* Nobody else has written yet, so the pipe has room for it. */
static bool write_header(int fd, const struct frame *frame) {
  uint8_t header[sizeof HEADER_MAGIC + NONCE_BYTES + CALL_ID_BYTES + sizeof frame->attempt + 1];
  memcpy(header, HEADER_MAGIC, sizeof HEADER_MAGIC);
  memcpy(header + 8, frame->header_nonce, NONCE_BYTES);
  memcpy(header + 24, frame->call_id, CALL_ID_BYTES);
  memcpy(header + 40, frame->attempt, sizeof frame->attempt);
  header[44] = '\n';
  return write(fd, header, sizeof header) == (ssize_t)sizeof header;
}

bool write_headers(const struct frame *frame) {
  return write_header(STDOUT_FILENO, frame) && write_header(STDERR_FILENO, frame);
}

/* One write, of what the pipe has room for. True when this stream is done with. */
static bool write_some(int fd, const uint8_t *bytes, size_t total, size_t *written) {
  ssize_t took = write(fd, bytes + *written, total - *written);
  if (took < 0) return errno != EAGAIN && errno != EINTR;
  *written += (size_t)took;
  return *written == total;
}

/*
 * Each stream on its own, so that one that is stalled does not hold up the other. A reader that is
 * only slow is waited for; how long is for the function's time and the switch to say, but what can
 * be written at once is written whatever they say. True when any trailer went out.
 */
bool write_trailers(const struct ending *ending, const struct frame *frame, int64_t deadline_ms) {
  uint8_t trailer[NONCE_BYTES + 4];
  memcpy(trailer, frame->trailer_nonce, NONCE_BYTES);
  trailer[NONCE_BYTES] = (uint8_t)ending->reason;
  trailer[NONCE_BYTES + 1] = ending->by_signal;
  trailer[NONCE_BYTES + 2] = (uint8_t)(ending->status & 0xff);
  trailer[NONCE_BYTES + 3] = (uint8_t)(ending->status >> 8 & 0xff);

  struct pollfd fds[2] = {{.fd = STDOUT_FILENO, .events = POLLOUT},
                          {.fd = STDERR_FILENO, .events = POLLOUT}};
  size_t written[2] = {0, 0};
  int64_t give_up_ms = NEVER;
  for (int i = 0; i < 2; i++) {
    fcntl(fds[i].fd, F_SETFL, fcntl(fds[i].fd, F_GETFL) | O_NONBLOCK);
  }
  if (deadline_ms != NEVER) {
    int64_t now_ms = clock_ms();
    int64_t from_ms = deadline_ms > now_ms ? deadline_ms : now_ms;
    give_up_ms = after(from_ms, HYPER_STOP_GRACE_MS);
  }
  while (fds[0].fd >= 0 || fds[1].fd >= 0) {
    int64_t now_ms = clock_ms();
    if (stop_requested()) give_up_ms = earlier(give_up_ms, now_ms + HYPER_STOP_GRACE_MS);
    bool last_try = agent_is_gone() || now_ms >= give_up_ms;
    wait_until(fds, 2, last_try ? now_ms : give_up_ms);
    bool moved = false;
    for (int i = 0; i < 2; i++) {
      if (fds[i].fd < 0 || fds[i].revents == 0) continue;
      size_t before = written[i];
      if (write_some(fds[i].fd, trailer, sizeof trailer, &written[i])) fds[i].fd = -1;
      moved |= fds[i].fd < 0 || written[i] != before;
    }
    if (last_try && !moved) break;
  }
  return written[0] == sizeof trailer || written[1] == sizeof trailer;
}
