/*
 * A function that looks for what hyper-init knows. It tries every door to PID 1 that Linux has for a
 * process of the same container, reads its own memory and whatever was left open to it, puts all it
 * got into the file that it is told, and says of each door whether it was open.
 */
#define _GNU_SOURCE /* process_vm_readv */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

/* Of one range of memory, or one file. Heaps and stacks here are far smaller. */
#define TAKEN_MAX (8ul << 20)

static FILE *loot;
static unsigned long opened;

static void say(const char *door, bool is_open) {
  printf("%s %s\n", is_open ? "open" : "shut", door);
  opened += is_open;
}

static size_t keep_all_of(int fd) {
  char part[65536];
  size_t total = 0;
  ssize_t got;
  while (total < TAKEN_MAX && (got = read(fd, part, sizeof part)) > 0) {
    fwrite(part, 1, (size_t)got, loot);
    total += (size_t)got;
  }
  return total;
}

static void try_file(const char *path) {
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  size_t got = 0;
  if (fd >= 0) {
    got = keep_all_of(fd);
    close(fd);
  }
  say(path, got > 0);
}

static void try_link(const char *path) {
  char target[PATH_MAX];
  ssize_t got = readlink(path, target, sizeof target);
  if (got > 0) fwrite(target, 1, (size_t)got, loot);
  say(path, got > 0);
}

/* That there is something, by name, is no secret: the number of a descriptor, an address. */
static void try_all_in(const char *path) {
  DIR *folder = opendir(path);
  for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
    char each[PATH_MAX];
    if (entry->d_name[0] == '.') continue;
    snprintf(each, sizeof each, "%s/%s", path, entry->d_name);
    try_file(each);
  }
  if (folder != NULL) closedir(folder);
}

/* All memory that `maps` names, read by `take`. */
static size_t keep_memory(const char *maps, ssize_t (*take)(unsigned long, void *, size_t)) {
  FILE *file = fopen(maps, "r");
  unsigned long from, to;
  char line[PATH_MAX + 256], mode[5];
  size_t total = 0;
  while (file != NULL && fgets(line, sizeof line, file) != NULL) {
    if (sscanf(line, "%lx-%lx %4s", &from, &to, mode) != 3 || mode[0] != 'r') continue;
    if (strstr(line, "[v") != NULL) continue; /* vvar, vdso, vsyscall: the kernel's own. */
    char part[4096];
    for (unsigned long at = from; at < to && at - from < TAKEN_MAX; at += sizeof part) {
      ssize_t got = take(at, part, sizeof part);
      if (got <= 0) break;
      fwrite(part, 1, (size_t)got, loot);
      total += (size_t)got;
    }
  }
  if (file != NULL) fclose(file);
  return total;
}

static int memory_fd = -1;
static ssize_t by_file(unsigned long at, void *into, size_t bytes) {
  return pread(memory_fd, into, bytes, (off_t)at);
}

static size_t try_memory_file(const char *maps, const char *memory) {
  memory_fd = open(memory, O_RDONLY | O_CLOEXEC);
  return memory_fd < 0 ? 0 : keep_memory(maps, by_file);
}

static ssize_t by_vm_readv(unsigned long at, void *into, size_t bytes) {
  struct iovec local = {into, bytes}, remote = {(void *)at, bytes};
  return process_vm_readv(1, &local, 1, &remote, 1, 0);
}

/* Where a static program lies, should its maps be hidden. */
static bool try_vm_readv(void) {
  char part[4096];
  bool is_open = keep_memory("/proc/1/maps", by_vm_readv) > 0;
  for (unsigned long at = 0x400000; at < 0x500000; at += sizeof part) {
    ssize_t got = by_vm_readv(at, part, sizeof part);
    if (got > 0) fwrite(part, 1, (size_t)got, loot);
    is_open |= got > 0;
  }
  return is_open;
}

static bool try_trace(int request) {
  if (ptrace(request, 1, NULL, NULL) < 0) return false;
  if (request == PTRACE_ATTACH) waitpid(1, NULL, __WALL);
  ptrace(PTRACE_DETACH, 1, NULL, NULL);
  return true;
}

/* Its descriptors themselves, without a path to them. */
static bool try_descriptors(void) {
  int process = (int)syscall(SYS_pidfd_open, 1, 0);
  bool is_open = false;
  for (int i = 0; process >= 0 && i < 16; i++) {
    int fd = (int)syscall(SYS_pidfd_getfd, process, i, 0);
    if (fd < 0) continue;
    is_open = true;
    close(fd);
  }
  return is_open;
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  loot = fopen(argv[1], "wb");
  if (loot == NULL) return 3;

  /* What it was given. Descriptors first, before there are more. */
  for (int fd = 0; fd < 64; fd++) {
    if (fd != fileno(loot) && fd > STDERR_FILENO) {
      bool is_there = fcntl(fd, F_GETFD) >= 0;
      if (is_there) keep_all_of(fd);
      if (is_there) say("an inherited descriptor", true);
    }
  }
  keep_all_of(STDIN_FILENO);
  if (try_memory_file("/proc/self/maps", "/proc/self/mem") == 0) return 4;

  /* What everyone may see of everyone. */
  const char *seen[] = {"cmdline", "comm", "stat", "statm", "status", "limits", "mountinfo"};
  for (size_t i = 0; i < sizeof seen / sizeof *seen; i++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/1/%s", seen[i]);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) keep_all_of(fd);
    if (fd >= 0) close(fd);
  }

  /* The doors. */
  const char *files[] = {"environ", "auxv",    "maps", "smaps",       "smaps_rollup", "numa_maps",
                         "pagemap", "syscall", "io",   "personality", "stack",        "task/1/maps"};
  for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/1/%s", files[i]);
    try_file(path);
  }
  const char *links[] = {"exe", "cwd", "root", "fd/0", "fd/1", "fd/2"};
  for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
    char path[64];
    snprintf(path, sizeof path, "/proc/1/%s", links[i]);
    try_link(path);
  }
  try_all_in("/proc/1/fd");
  try_all_in("/proc/1/map_files");
  say("/proc/1/mem", try_memory_file("/proc/1/maps", "/proc/1/mem") > 0);
  say("process_vm_readv", try_vm_readv());
  say("ptrace attach", try_trace(PTRACE_ATTACH));
  say("ptrace seize", try_trace(PTRACE_SEIZE));
  say("pidfd_getfd", try_descriptors());
  fclose(loot);
  printf("%lu open\n", opened);
  return 0;
}
