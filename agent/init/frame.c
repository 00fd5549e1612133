/*
 * Reads the one frame and checks it. All of it is here before anything is forked, so that a frame
 * that was cut never starts a process. Nothing is believed: every length is bounded before it is
 * used, and the strings must fill their part to the last byte.
 */
#include "hyper-init.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_BYTES 88
#define BODY_BYTES_MAX (2u << 20)
#define PAYLOAD_BYTES_MAX (1u << 20)
#define SIGNAL_MAX 64

static const uint8_t FRAME_MAGIC[8] = {0x89, 'H', 'Y', 'F', 'R', 'M', '1', '\n'};

static uint32_t u32(const uint8_t *at) {
  return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static uint64_t u64(const uint8_t *at) { return (uint64_t)u32(at) | (uint64_t)u32(at + 4) << 32; }

static bool read_exactly(int fd, uint8_t *into, size_t bytes, bool (*await_input)(int fd)) {
  while (bytes > 0) {
    if (!await_input(fd)) return false;
    ssize_t got = read(fd, into, bytes);
    if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
    if (got <= 0) return false;
    into += got;
    bytes -= (size_t)got;
  }
  return true;
}

/* Takes `count` strings, each ended by NUL, from *at on. NULL when they do not fit. */
static char **take_strings(char **at, const char *end, uint32_t count) {
  /* Each string takes at least its NUL: this bounds the allocation as well. */
  if (count > (size_t)(end - *at)) return NULL;
  char **strings = calloc((size_t)count + 1, sizeof *strings);
  if (strings == NULL) return NULL;
  for (uint32_t i = 0; i < count; i++) {
    char *nul = memchr(*at, '\0', (size_t)(end - *at));
    if (nul == NULL) return NULL;
    strings[i] = *at;
    *at = nul + 1;
  }
  return strings;
}

static bool take_body(struct frame *frame, char *body, size_t bytes, uint32_t argc, uint32_t envc) {
  char *at = body;
  const char *end = body + bytes;
  frame->argv = take_strings(&at, end, argc);
  if (frame->argv == NULL) return false;
  frame->environment = take_strings(&at, end, envc);
  if (frame->environment == NULL || at != end) return false;
  for (char **entry = frame->environment; *entry != NULL; entry++) {
    if (**entry == '=' || strchr(*entry, '=') == NULL) return false;
  }
  return true;
}

bool frame_read(int fd, struct frame *frame, bool (*await_input)(int fd)) {
  uint8_t head[HEAD_BYTES];
  /* The magic by itself: what is not a frame may be shorter than one, with no end to come. */
  if (!read_exactly(fd, head, sizeof FRAME_MAGIC, await_input)) return false;
  if (memcmp(head, FRAME_MAGIC, sizeof FRAME_MAGIC) != 0) return false;
  if (!read_exactly(fd, head + sizeof FRAME_MAGIC, HEAD_BYTES - sizeof FRAME_MAGIC, await_input))
    return false;

  uint32_t body_bytes = u32(head + 8);
  uint32_t payload_bytes = u32(head + 12);
  uint32_t stop_signal = u32(head + 68);
  uint32_t argc = u32(head + 80);
  uint32_t envc = u32(head + 84);
  if (body_bytes > BODY_BYTES_MAX || payload_bytes > PAYLOAD_BYTES_MAX) return false;
  if (argc == 0 || stop_signal == 0 || stop_signal > SIGNAL_MAX) return false;

  memcpy(frame->header_nonce, head + 16, NONCE_BYTES);
  memcpy(frame->trailer_nonce, head + 32, NONCE_BYTES);
  memcpy(frame->call_id, head + 48, CALL_ID_BYTES);
  memcpy(frame->attempt, head + 64, sizeof frame->attempt);
  frame->stop_signal = (int)stop_signal;
  frame->timeout_ms = u64(head + 72);
  frame->payload_bytes = payload_bytes;

  uint8_t *rest = malloc((size_t)body_bytes + payload_bytes);
  if (rest == NULL) return false;
  if (!read_exactly(fd, rest, (size_t)body_bytes + payload_bytes, await_input)) return false;
  frame->payload = rest + body_bytes;
  return take_body(frame, (char *)rest, body_bytes, argc, envc);
}
