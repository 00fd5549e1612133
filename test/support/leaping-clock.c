/*
 * Linked into hyper-init by a test (-Wl,--wrap=…): every look at the wall clock is a day later than
 * the one before, and the clock that only runs stays what it is.
 */
#include <stddef.h>
#include <sys/time.h>
#include <time.h>

#define DAY_S 86400

static time_t leap(void) {
  static time_t days;
  return ++days * DAY_S;
}

int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now) {
  int result = __real_clock_gettime(clock, now);
  if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI)
    now->tv_sec += leap();
  return result;
}

int __wrap_gettimeofday(struct timeval *now, void *zone) {
  (void)zone;
  now->tv_usec = 0;
  now->tv_sec = leap();
  return 0;
}

time_t __wrap_time(time_t *now) {
  time_t leapt = leap();
  if (now != NULL) *now = leapt;
  return leapt;
}
