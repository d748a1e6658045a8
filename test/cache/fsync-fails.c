/* Preloaded: fsync and fdatasync fail from the call on whose number SLUICE_FSYNC_FAILS_AT gives, as on a dying disk. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>

static int calls;

static int sync_or_fail(void) {
  const char *at = getenv("SLUICE_FSYNC_FAILS_AT");
  if (at && __sync_add_and_fetch(&calls, 1) >= atoi(at)) {
    errno = EIO;
    return -1;
  }
  return 0;
}

int fsync(int fd) { (void)fd; return sync_or_fail(); }
int fdatasync(int fd) { (void)fd; return sync_or_fail(); }
