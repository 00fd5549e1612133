/* Becomes the emulator with a program for another machine; arguments and environment stay as they are. */
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
  char **all = calloc((size_t)argc + 4, sizeof *all);
  if (all == NULL) return 126;
  all[0] = EMULATOR;
  all[1] = "-0";
  all[2] = argv[0];
  all[3] = PROGRAM;
  for (int i = 1; i < argc; i++) all[i + 3] = argv[i];
  execv(EMULATOR, all);
  return 127;
}
