/* Becomes the emulator with a program for another machine; arguments and environment stay as they are. */
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
  char **all = calloc((size_t)argc + 2, sizeof *all);
  if (all == NULL) return 126;
  all[0] = EMULATOR;
  all[1] = PROGRAM;
  for (int i = 1; i < argc; i++) all[i + 1] = argv[i];
  execv(EMULATOR, all);
  return 127;
}
