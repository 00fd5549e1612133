/*
 * Gives frames to hyper-init's reader and prints what it took. A test compiles both with the
 * compiler's sanitizers, so that whatever the reader does beyond its bounds ends this program.
 *
 * STDIN: again and again u32 length, u32 bytes at a time, then the bytes of a frame. STDOUT: a line
 * for each: `refused`, or what was taken in hexadecimal and how many bytes were left unread.
 */
#include "hyper-init.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct {
  const uint8_t *bytes;
  size_t left, step;
  int fd; /* The end of the pipe that is written, -1 when it was closed. */
} input;

/* hyper-init waits before every read: the next bytes come now, as many as are said. */
static bool feed(int fd) {
  (void)fd;
  size_t bytes = input.left < input.step ? input.left : input.step;
  ssize_t took = bytes > 0 ? write(input.fd, input.bytes, bytes) : 0;
  if (took < 0 && errno != EAGAIN) abort();
  if (took > 0) input.bytes += took, input.left -= (size_t)took;
  if (input.left == 0 && input.fd >= 0) close(input.fd), input.fd = -1;
  return true;
}

static void print_hex(const void *at, size_t bytes) {
  for (size_t i = 0; i < bytes; i++) printf("%02x", ((const uint8_t *)at)[i]);
}

static void print_field(const void *at, size_t bytes) {
  putchar(' ');
  print_hex(at, bytes);
}

static void print_strings(char **strings) {
  putchar(' ');
  for (size_t i = 0; strings[i] != NULL; i++) {
    if (i > 0) putchar(',');
    print_hex(strings[i], strlen(strings[i]));
  }
}

static size_t unread(int fd) {
  uint8_t rest[4096];
  size_t total = input.left;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  for (ssize_t got; (got = read(fd, rest, sizeof rest)) > 0;) total += (size_t)got;
  return total;
}

static void take(uint8_t *bytes, uint32_t length, uint32_t step) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0 || fcntl(ends[1], F_SETFL, O_NONBLOCK) < 0) abort();
  input.bytes = bytes;
  input.left = length;
  input.step = step;
  input.fd = ends[1];
  struct frame frame = {.argv = NULL};
  if (!frame_read(ends[0], &frame, feed)) {
    printf("refused\n");
  } else {
    printf("taken");
    print_field(frame.header_nonce, sizeof frame.header_nonce);
    print_field(frame.trailer_nonce, sizeof frame.trailer_nonce);
    print_field(frame.call_id, sizeof frame.call_id);
    print_field(frame.attempt, sizeof frame.attempt);
    printf(" %" PRIu64 " %d", frame.timeout_ms, frame.stop_signal);
    print_strings(frame.argv);
    print_strings(frame.environment);
    print_field(frame.payload, frame.payload_bytes);
    printf(" %zu\n", unread(ends[0]));
  }
  if (input.fd >= 0) close(input.fd);
  close(ends[0]);
}

int main(void) {
  uint32_t head[2];
  while (fread(head, sizeof head, 1, stdin) == 1) {
    /* Of exactly its length, so that a read beyond it is seen. */
    uint8_t *bytes = malloc(head[0] > 0 ? head[0] : 1);
    if (bytes == NULL || fread(bytes, 1, head[0], stdin) != head[0]) return 1;
    take(bytes, head[0], head[1]);
    free(bytes);
  }
  return 0;
}
