/** What SQLite reports, in terms of what to do about it. */
import { codeOf, SluiceError } from '../errors.ts';

/** Errors of our own pass; SQLite's become cache.full, cache.corrupt or cache.disk. */
export function diskError(thrown: unknown): unknown {
  const code = codeOf(thrown);
  if (!code.startsWith('SQLITE_')) return thrown;
  const facts = { sqlite: code };
  // The index of the WAL could not grow: nothing was written yet, and the only common cause is a full disk.
  if (code === 'SQLITE_FULL' || code === 'SQLITE_IOERR_SHMSIZE') {
    const hint = 'Free space on the disk of cache.path: a few MB will do to go on.';
    return new SluiceError('cache.full', 'retry', 'the disk of the cache is full', { cause: thrown, hint, facts });
  }
  if (code.startsWith('SQLITE_CORRUPT') || code === 'SQLITE_NOTADB') {
    const hint = 'Start the gateway: it sets aside by itself what it cannot use, begins a new file and says so.';
    return new SluiceError('cache.corrupt', 'stop', 'the cache file is damaged', { cause: thrown, hint, facts });
  }
  const hint = 'See the kernel log for errors of the disk. Nothing is acknowledged that may not have reached it.';
  return new SluiceError('cache.disk', 'stop', 'the disk of the cache failed', { cause: thrown, hint, facts });
}
