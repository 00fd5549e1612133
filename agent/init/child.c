/*
 * The function's process: its environment, its descriptors and signals, the search for its
 * command. What the process gets must look as if the engine had started it: a session of its own,
 * default signals, nothing open but 0 to 2. Memory of ours (with the nonces) goes with the exec.
 */
#include "hyper-init.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

/* What the engine itself gives to an image that names none. */
static char DEFAULT_PATH[] =
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

static size_t count(char **strings) {
  size_t n = 0;
  while (strings[n] != NULL) n++;
  return n;
}

static bool has_name(char **entries, const char *name, size_t name_bytes) {
  for (; *entries != NULL; entries++) {
    if (strncmp(*entries, name, name_bytes) == 0 && (*entries)[name_bytes] == '=') return true;
  }
  return false;
}

static const char *value_of(char **entries, const char *name) {
  size_t bytes = strlen(name);
  for (; *entries != NULL; entries++) {
    if (strncmp(*entries, name, bytes) == 0 && (*entries)[bytes] == '=') return *entries + bytes + 1;
  }
  return NULL;
}

/* The container's environment, overlaid by the frame's. */
static char **overlay(char **added) {
  char **all = calloc(count(environ) + count(added) + 2, sizeof *all);
  if (all == NULL) return NULL;
  size_t n = 0;
  for (char **entry = environ; *entry != NULL; entry++) {
    if (!has_name(added, *entry, strcspn(*entry, "="))) all[n++] = *entry;
  }
  for (char **entry = added; *entry != NULL; entry++) all[n++] = *entry;
  if (value_of(all, "PATH") == NULL) all[n++] = DEFAULT_PATH;
  return all;
}

/* The linker's name for the head of this very program: what runs us runs no other machine's. */
extern const ElfW(Ehdr) __ehdr_start;

/* Both sizes of ELF agree as far as the machine; the other byte order makes another number of it. */
static bool is_of_other_machine(const char *path) {
  unsigned char head[offsetof(ElfW(Ehdr), e_machine) + sizeof __ehdr_start.e_machine];
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return false;
  ssize_t got = read(fd, head, sizeof head);
  close(fd);
  if (got != (ssize_t)sizeof head || memcmp(head, ELFMAG, SELFMAG) != 0) return false;
  const unsigned char *machine = head + offsetof(ElfW(Ehdr), e_machine);
  return memcmp(machine, &__ehdr_start.e_machine, sizeof __ehdr_start.e_machine) != 0;
}

/*
 * Returns only when it failed, with the errno. The kernel says ENOENT both for a file that is not
 * there and for one whose interpreter or loader is not; ELIBACC tells the second apart. It says
 * ENOEXEC of every format that it does not run; EMEDIUMTYPE is a program for another machine.
 */
static int execute(const char *path, char **argv, char **environment) {
  execve(path, argv, environment);
  int reason = errno;
  if (reason == ENOENT && access(path, F_OK) == 0) return ELIBACC;
  if (reason == ENOEXEC && is_of_other_machine(path)) return EMEDIUMTYPE;
  return reason;
}

/*
 * execvp() would hand a file of a format unknown to the kernel to a shell, and look in the PATH
 * that is ours instead of the function's. So the search is our own: what is missing or forbidden
 * in one folder may be found in the next, any other error is about the file that was meant.
 */
static int execute_on_path(char **argv, char **environment) {
  const char *name = argv[0];
  if (*name == '\0') return ENOENT;
  if (strchr(name, '/') != NULL) return execute(name, argv, environment);

  int failure = ENOENT;
  const char *folder = value_of(environment, "PATH");
  for (;;) {
    size_t folder_bytes = strcspn(folder, ":");
    size_t name_bytes = strlen(name);
    char path[PATH_MAX];
    if (folder_bytes + 1 + name_bytes + 1 <= sizeof path) {
      char *at = path;
      if (folder_bytes > 0) { /* An empty folder is the working directory. */
        memcpy(at, folder, folder_bytes);
        at += folder_bytes;
        *at++ = '/';
      }
      memcpy(at, name, name_bytes + 1);
      int reason = execute(path, argv, environment);
      if (reason == EACCES || reason == ELIBACC) failure = reason;
      else if (reason != ENOENT && reason != ENOTDIR) return reason;
    }
    if (folder[folder_bytes] == '\0') return failure;
    folder += folder_bytes + 1;
  }
}

static _Noreturn void become(char **argv, char **environment, int stdin_fd, int exec_fd) {
  setsid();
  int reason = 0;
  if (dup2(stdin_fd, STDIN_FILENO) < 0) reason = errno;

  /* Handlers first, mask after: a stop that is already pending then ends us, as it should. */
  struct sigaction standard = {.sa_handler = SIG_DFL};
  sigemptyset(&standard.sa_mask);
  for (int signal = 1; signal < NSIG; signal++) sigaction(signal, &standard, NULL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);

  if (reason == 0) reason = execute_on_path(argv, environment);
  ssize_t written = write(exec_fd, &reason, sizeof reason);
  _exit(written == sizeof reason ? 127 : 126);
}

bool child_start(const struct frame *frame, struct child *child) {
  char **environment = overlay(frame->environment);
  int feed[2], exec[2];
  if (environment == NULL || pipe2(feed, O_CLOEXEC) < 0 || pipe2(exec, O_CLOEXEC) < 0) return false;
  /* Only our ends: each end has flags of its own, the process's STDIN stays blocking. */
  if (fcntl(feed[1], F_SETFL, O_NONBLOCK) < 0 || fcntl(exec[0], F_SETFL, O_NONBLOCK) < 0)
    return false;

  child->pid = fork();
  if (child->pid < 0) return false;
  if (child->pid == 0) become(frame->argv, environment, feed[0], exec[1]);
  close(feed[0]);
  close(exec[1]);
  child->feed_fd = feed[1];
  child->exec_fd = exec[0];
  free(environment);
  return true;
}
