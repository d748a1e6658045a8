/* Preloaded: while the file that SLUICE_FSYNC_SLOW names exists, every sync takes four seconds, as on a worn card. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <unistd.h>
#include <sys/syscall.h>

static void wait_if_slow(void) {
  const char *file = getenv("SLUICE_FSYNC_SLOW");
  if (file && access(file, F_OK) == 0) usleep(4000000);
}

int fsync(int fd) { wait_if_slow(); return (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { wait_if_slow(); return (int)syscall(SYS_fdatasync, fd); }
