/*
 * What the container writes: read, kept in a file as far as its bound, and then passed on to the agent
 * while there is one. What is not passed on yet keeps more from being read.
 */
#include "hyper-keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

struct stream streams[2] = {{.name = "stdout", .to = STDOUT_FILENO},
                            {.name = "stderr", .to = STDERR_FILENO}};

void stream_open(struct stream *stream, size_t log_bytes) {
  stream->log = open(stream->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (stream->log < 0) fail("no file for what it writes");
  stream->log_left = log_bytes;
  fcntl(stream->to, F_SETFL, fcntl(stream->to, F_GETFL) | O_NONBLOCK);
}

void stream_drop(struct stream *stream) {
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

void stream_pull(struct stream *stream) {
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
  if (stream->to < 0) stream_drop(stream);
}

void stream_push(struct stream *stream) {
  ssize_t took = write(stream->to, stream->bytes + stream->at, stream->end - stream->at);
  if (took < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (took < 0) stream_drop(stream);
  else stream->at += (size_t)took;
  if (stream->at == stream->end) stream->at = stream->end = 0;
}
