/** Small files that must be there whole or not at all, whatever ends the process or the power. */
import {
  closeSync,
  fchownSync,
  fsyncSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

export const SECRET_MODE = 0o600;
export const PUBLIC_MODE = 0o644;
const SECRET_FOLDER_MODE = 0o700;

/**
 * Beside it, to disk, then in its place. Its mode is what is asked for, whatever the mode of a file that was there. A symbolic link is
 * replaced, not followed. Throws Node's errors (EROFS, EACCES, ENOSPC) and then leaves what was there.
 * @param like a file whose owner it gets where root writes it: root's own file the service could not read.
 */
export function writeWhole(file: string, text: string, mode: number, like?: string): void {
  const folder = dirname(file);
  mkdirSync(folder, { recursive: true, mode: SECRET_FOLDER_MODE });
  const fresh = `${file}.new`;
  // Of a process that was ended in the middle.
  rmSync(fresh, { force: true });
  try {
    writeThrough(fresh, text, mode, like);
    renameSync(fresh, file);
  } catch (thrown) {
    rmSync(fresh, { force: true });
    throw thrown;
  }
  syncFolder(folder);
}

/** In the place of `to`; on disk when this returns. */
export function moveWhole(from: string, to: string): void {
  renameSync(from, to);
  syncFolder(dirname(to));
}

/** One secret file and one public, the secret first: without it the public one is of no use. */
export function writePair(
  folder: string,
  files: { readonly secret: readonly [string, string]; readonly public: readonly [string, string] },
): { readonly secret: string; readonly public: string } {
  const paths = { secret: join(folder, files.secret[0]), public: join(folder, files.public[0]) };
  writeWhole(paths.secret, files.secret[1], SECRET_MODE);
  writeWhole(paths.public, files.public[1], PUBLIC_MODE);
  return paths;
}

function writeThrough(file: string, text: string, mode: number, like: string | undefined): void {
  // Never a file that is there, or a link that somebody put there.
  const handle = openSync(file, 'wx', mode);
  try {
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; ) at += writeSync(handle, bytes, at);
    const owner = like !== undefined && process.getuid?.() === 0 ? statSync(like) : undefined;
    if (owner !== undefined) fchownSync(handle, owner.uid, owner.gid);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** A rename, or a new name, is on disk when its folder is. */
export function syncFolder(folder: string): void {
  const handle = openSync(folder, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
