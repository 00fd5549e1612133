/*
 * The program of the `hello` image, the only file in it: greets whom STDIN names, or everyone.
 * It reads its STDIN to the end, and keeps as much of it as a payload can be.
 * With the argument `--watch-switch` it waits until the dead man's switch beside hyper-init moves, and
 * fails if it does not; it takes any others.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NAME_BYTES_MAX (1u << 20)
/* As newInitPlace (host-config.ts) begins. */
#define INIT_PLACE_START ".hyper-"
#define SWITCH_BYTES 8
#define LOOKS_MAX 60
#define LOOK_NS 50000000

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

/* The path of the switch beside hyper-init; empty where there is none. */
static void find_switch(char *path, size_t size) {
  path[0] = 0;
  DIR *root = opendir("/");
  if (root == NULL) return;
  for (struct dirent *entry; (entry = readdir(root)) != NULL;) {
    if (strncmp(entry->d_name, INIT_PLACE_START, strlen(INIT_PLACE_START)) == 0)
      snprintf(path, size, "/%s/switch", entry->d_name);
  }
  closedir(root);
}

/* Opens it anew for every look, as hyper-init does. */
static bool read_switch(const char *path, char *counter) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t got = read(fd, counter, SWITCH_BYTES);
  close(fd);
  return got == SWITCH_BYTES;
}

static bool switch_moves(void) {
  char path[PATH_MAX], first[SWITCH_BYTES], now[SWITCH_BYTES];
  find_switch(path, sizeof path);
  const struct timespec pause = {.tv_nsec = LOOK_NS};
  if (!read_switch(path, first)) return false;
  for (int looks = 0; looks < LOOKS_MAX; looks++) {
    if (!read_switch(path, now)) return false;
    if (memcmp(first, now, SWITCH_BYTES) != 0) return true;
    nanosleep(&pause, NULL);
  }
  return false;
}

int main(int argc, char **argv) {
  if (argc == 2 && strcmp(argv[1], "--watch-switch") == 0) return switch_moves() ? 0 : 1;
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
