/*
 * Asks its parent to trace it, as programs do that want no debugger, then gets a signal that it
 * handles, and becomes another program: both stop a traced process.
 */
#include <signal.h>
#include <sys/ptrace.h>
#include <unistd.h>

static void say(int signal) {
  (void)signal;
  if (write(STDOUT_FILENO, "handled\n", 8) != 8) _exit(1);
}

int main(void) {
  signal(SIGUSR1, say);
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) return 2;
  if (raise(SIGUSR1) != 0) return 3;
  if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0) return 4;
  execl("/bin/sh", "sh", "-c", "exit 5", (char *)NULL);
  return 6;
}
