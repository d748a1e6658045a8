/** What the cache takes of its disk, by its files alone: known whether the gateway answers or not. */
import { statfsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { LOG_BYTES_KEPT } from './file-bytes.ts';
import { DATABASE_FILE } from './folder.ts';

export interface StorageView {
  readonly fileBytes: number;
  /** Of the log beside it. */
  readonly logBytes: number;
  /** A process that reads the file does not end its snapshot: the log grows, see `logReaders`. */
  readonly logPinned: boolean;
  /** On the same file system, for who may not use what is reserved for root. */
  readonly freeBytes: number;
  /** When something was written to it, ms since the epoch. */
  readonly writtenMs: number;
}

/** @param path the cache's folder, or the file in it. */
export function storageView(path: string): StorageView {
  const file = statSync(path).isDirectory() ? join(path, DATABASE_FILE) : path;
  const { size, mtimeMs } = statSync(file);
  const log = statSync(`${file}-wal`, { throwIfNoEntry: false });
  const { bavail, bsize } = statfsSync(dirname(file));
  const logBytes = log?.size ?? 0;
  // Who reads a file that nobody writes makes an empty log beside it.
  const writtenMs = Math.max(mtimeMs, logBytes > 0 ? (log?.mtimeMs ?? 0) : 0);
  return { fileBytes: size, logBytes, logPinned: logBytes > LOG_BYTES_KEPT, freeBytes: bavail * bsize, writtenMs };
}
