/*
 * The time between the answer and our end. All processes are gone; what they left in shared memory
 * outlives them, and the next call may have this memory already: it is taken away at once.
 *
 * What the engine does about our end takes more of the host than a short call did. The agent closes
 * STDIN when there is time for that: by then the answer is with its caller. One that never does is
 * waited for only so long.
 */
#include "hyper-init.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <unistd.h>

/* Overridden by tests, at compile time only: what runs in a container must not choose it. */
#ifndef HYPER_LEAVE_MS
#define HYPER_LEAVE_MS 2000
#endif

/* Only what processes of our own PID namespace made: of another's, the maker has no number here. */
static void remove_shared_memory(void) {
  struct shm_info info;
  int last = shmctl(0, SHM_INFO, (struct shmid_ds *)&info);
  for (int index = 0; index <= last; index++) {
    struct shmid_ds segment;
    int id = shmctl(index, SHM_STAT, &segment);
    if (id >= 0 && segment.shm_cpid != 0) shmctl(id, IPC_RMID, NULL);
  }
}

void leave(bool first_process) {
  int64_t until_ms = clock_ms() + HYPER_LEAVE_MS;
  if (first_process) remove_shared_memory();
  fcntl(STDIN_FILENO, F_SETFL, fcntl(STDIN_FILENO, F_GETFL) | O_NONBLOCK);
  while (!stop_requested() && !agent_is_gone() && clock_ms() < until_ms) {
    uint8_t stray[256];
    ssize_t got = read(STDIN_FILENO, stray, sizeof stray);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return;
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    wait_until(&input, 1, until_ms);
  }
}
