/*
 * The zygote: one process beside the agent, small and started once, of which the keepers are forked. A
 * fork of the agent itself copies the tables of all its memory while the agent stands still.
 *
 *   orders     on STDIN, `BYTES\n` and so many bytes: the words of a keeper, each ended with a NUL.
 *              For each a child, which connects four times to DOOR, says there whose and which of the
 *              connections it is (`ID 0\n` …), has them as descriptors 0 to 3 and becomes a keeper
 *   the end    of STDIN: the agent has ended. Keepers go on
 *
 * The runtime is copied into sealed memory once. It would copy itself at every start, so that no
 * container can write to the host's program, and leaves that where it sees that it is such a copy.
 *
 *   hyper-keeper --zygote DOOR RUNTIME
 */
#include "hyper-keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define STREAMS 4
/* The agent's keeperWordsMax and keeperWordsBytesMax (protocol/limits.ts): it sends no more. */
#define WORDS_MAX 250
#define ORDER_BYTES_MAX 65536
#define SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* Scripts, of which an interpreter is told the path, stay where they are. */
static bool is_program(int file) {
  char magic[4] = "";
  return pread(file, magic, sizeof magic, 0) == sizeof magic && memcmp(magic, "\177ELF", 4) == 0;
}

/* Whether RUNTIME_FD is the copy. */
static bool copy_runtime(const char *path) {
  struct stat facts;
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0 || fstat(file, &facts) < 0 || !is_program(file)) return false;
  int copy = memfd_create("runtime", MFD_ALLOW_SEALING | MFD_CLOEXEC);
  off_t left = facts.st_size;
  while (copy >= 0 && left > 0) {
    ssize_t took = sendfile(copy, file, NULL, (size_t)left);
    if (took <= 0) break;
    left -= took;
  }
  close(file);
  if (copy < 0 || left > 0 || fcntl(copy, F_ADD_SEALS, SEALS) < 0) return false;
  /* Open for the keepers, too. */
  if (copy == RUNTIME_FD) return fcntl(copy, F_SETFD, 0) == 0;
  return dup2(copy, RUNTIME_FD) == RUNTIME_FD && close(copy) == 0;
}

static void connect_to(const char *door, const char *id, int streams[STREAMS]) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  snprintf(address.sun_path, sizeof address.sun_path, "%s", door);
  for (int i = 0; i < STREAMS; i++) {
    /* Above all that they become. */
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    streams[i] = fcntl(made, F_DUPFD_CLOEXEC, RUNTIME_FD + 1);
    close(made);
    if (connect(streams[i], (struct sockaddr *)&address, sizeof address) < 0) _exit(1);
    if (dprintf(streams[i], "%s %d\n", id, i) < 0) _exit(1);
  }
}

static _Noreturn void become_keeper(char **words, const char *door) {
  const char *id = strrchr(words[1], '/');
  int streams[STREAMS];
  connect_to(door, id == NULL ? words[1] : id + 1, streams);
  for (int i = 0; i < STREAMS; i++) dup2(streams[i], i);
  execv("/proc/self/exe", words);
  _exit(127);
}

/* Ends with the agent's. */
static bool read_whole(void *into, size_t left) {
  for (uint8_t *at = into; left > 0;) {
    ssize_t got = read(STDIN_FILENO, at, left);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    left -= (size_t)got;
  }
  return true;
}

static size_t read_size(void) {
  char digits[16] = "";
  for (size_t at = 0; at < sizeof digits - 1; at++) {
    if (!read_whole(&digits[at], 1)) _exit(0);
    if (digits[at] == '\n') return strtoul(digits, NULL, 10);
  }
  return 0;
}

int be_zygote(char *program, const char *door, char *runtime) {
  static char order[ORDER_BYTES_MAX + 1], copied[32];
  if (copy_runtime(runtime)) {
    snprintf(copied, sizeof copied, "/proc/self/fd/%d", RUNTIME_FD);
    runtime = copied;
  }
  /* Nobody waits for the keepers here. */
  signal(SIGCHLD, SIG_IGN);
  for (;;) {
    size_t size = read_size();
    if (size == 0 || size > ORDER_BYTES_MAX || !read_whole(order, size)) return 65;
    char *words[WORDS_MAX + 3] = {program};
    int count = 1;
    for (size_t at = 0; at < size && count <= WORDS_MAX; at += strlen(order + at) + 1) {
      words[count++] = order + at;
    }
    words[count] = runtime;
    pid_t child = fork();
    /* The agent is told at once by our end. */
    if (child < 0) return 71;
    if (child == 0) {
      signal(SIGCHLD, SIG_DFL);
      become_keeper(words, door);
    }
  }
}
