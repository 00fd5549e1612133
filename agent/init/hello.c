/*
 * The program of the `hello` image, the only file in it: greets whom STDIN names, or everyone.
 * Takes any arguments. It reads its STDIN to the end, and keeps as much of it as a payload can be.
 */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

#define NAME_BYTES_MAX (1u << 20)

static bool say(const char *text, size_t bytes) {
  while (bytes > 0) {
    ssize_t took = write(STDOUT_FILENO, text, bytes);
    if (took < 0 && errno == EINTR) continue;
    if (took <= 0) return false;
    text += took;
    bytes -= (size_t)took;
  }
  return true;
}

int main(void) {
  static char name[NAME_BYTES_MAX], beyond[4096];
  size_t bytes = 0;
  for (;;) {
    bool full = bytes == sizeof name;
    ssize_t got = full ? read(STDIN_FILENO, beyond, sizeof beyond)
                       : read(STDIN_FILENO, name + bytes, sizeof name - bytes);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    if (!full) bytes += (size_t)got;
  }
  if (bytes == 0) {
    static const char everyone[] = "Hello from Hyper Func!\n";
    return say(everyone, strlen(everyone)) ? 0 : 1;
  }
  if (name[bytes - 1] == '\n') bytes--;
  return say("Hello, ", 7) && say(name, bytes) && say("!\n", 2) ? 0 : 1;
}
