/*
 * Preloaded: a disk that dies in an fsync, as Linux shows it. The call whose number SLUICE_FSYNC_FAILS_AT gives fails, and
 * all after it (only that one where SLUICE_FSYNC_FAILS_ONCE is set). What was written to that file and not synced before
 * can be read until the process ends, because it is in the page cache and looks clean, and then it is gone: the file has
 * what it had before those writes.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct before {
  struct before *older;
  dev_t dev;
  ino_t ino;
  off64_t at, size;
  size_t there;
  int lost;
  char path[PATH_MAX];
  char bytes[];
};

static struct before *newest;
static int calls;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static ssize_t (*real_pwrite)(int, const void *, size_t, off64_t);
static int (*real_fsync)(int);

__attribute__((constructor)) static void find(void) {
  *(void **)&real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
  *(void **)&real_fsync = dlsym(RTLD_NEXT, "fsync");
}

static void remember(int fd, size_t length, off64_t at) {
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) return;
  struct before *record = calloc(1, sizeof *record + length);
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, record->path, sizeof record->path - 1);
  ssize_t there = pread64(fd, record->bytes, length, at);
  if (n < 0 || there < 0) { free(record); return; }
  record->dev = st.st_dev;
  record->ino = st.st_ino;
  record->at = at;
  record->size = st.st_size;
  record->there = (size_t)there;
  record->older = newest;
  newest = record;
}

static ssize_t write_at(int fd, const void *bytes, size_t length, off64_t at) {
  pthread_mutex_lock(&mutex);
  if (getenv("SLUICE_FSYNC_FAILS_AT")) remember(fd, length, at);
  ssize_t written = real_pwrite(fd, bytes, length, at);
  pthread_mutex_unlock(&mutex);
  return written;
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) { return write_at(fd, bytes, length, at); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return write_at(fd, bytes, length, at); }

/* Synced: safe. Failed: lost, whatever a later fsync says of it. */
static void settle(int fd, int lost) {
  struct stat st;
  if (fstat(fd, &st) != 0) return;
  for (struct before **at = &newest; *at;) {
    struct before *record = *at;
    if (record->dev != st.st_dev || record->ino != st.st_ino || record->lost) { at = &record->older; continue; }
    if (lost) { record->lost = 1; at = &record->older; continue; }
    *at = record->older;
    free(record);
  }
}

static int sync_or_fail(int fd) {
  const char *fails = getenv("SLUICE_FSYNC_FAILS_AT");
  pthread_mutex_lock(&mutex);
  int call = ++calls;
  int failed = fails && (getenv("SLUICE_FSYNC_FAILS_ONCE") ? call == atoi(fails) : call >= atoi(fails));
  int result = failed ? -1 : real_fsync(fd);
  if (fails) settle(fd, failed);
  pthread_mutex_unlock(&mutex);
  if (failed) errno = EIO;
  return result;
}
int fsync(int fd) { return sync_or_fail(fd); }
int fdatasync(int fd) { return sync_or_fail(fd); }

__attribute__((destructor)) static void discard(void) {
  for (struct before *record = newest; record; record = record->older) {
    if (!record->lost) continue;
    struct stat st;
    int fd = open(record->path, O_RDWR);
    if (fd < 0) continue;
    if (fstat(fd, &st) == 0 && st.st_ino == record->ino) {
      real_pwrite(fd, record->bytes, record->there, record->at);
      if (ftruncate64(fd, record->size) != 0) perror("fsync-fails");
    }
    close(fd);
  }
}
