/**
 * How `sluice forget` asks the gateway that runs: a file in a folder that only the cache's owner can enter. Renamed into
 * place, so that it is whole or not there; removed once the request is in the cache, so that it is taken once and survives
 * both ends.
 */
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  fchownSync,
  fsyncSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { codeOf, SluiceError } from '../../errors.ts';
import { hex } from '../../wire/bytes.ts';
import { FILE_MODE } from '../folder.ts';
import type { ForgetRequest } from './audit.ts';

const FOLDER = 'forget';
const FOLDER_MODE = 0o700;
const ID_BYTES = 16;
const SUFFIX = '.json';
const FILE_BYTES_MAX = 16 * 1024;
/** What is not read within the worker's patience comes at the next look. */
const REQUESTS_AT_ONCE = 16;

export interface Posted {
  readonly file: string;
  /** Undefined for a file that is no request. */
  readonly request: ForgetRequest | undefined;
}

/** Where requests wait for the thread that owns the cache. */
export interface ForgetSpool {
  /** What was asked and not taken yet, in no order. */
  posted(): readonly Posted[];
  /** It is in the cache, or no request at all. */
  remove(posted: Posted): void;
}

/** @param path the cache's folder. */
export function spoolOf(path: string): ForgetSpool {
  return { posted: () => postedForgets(path), remove: removePosted };
}

/** @param path the cache's folder. @returns the request with its id. */
export function postForget(path: string, asked: Omit<ForgetRequest, 'id'>): ForgetRequest {
  const request = { id: hex(randomBytes(ID_BYTES)), ...asked };
  const folder = join(path, FOLDER);
  const { uid, gid } = statSync(path);
  // Asked by root, the gateway must be able to read it: but whoever may write the cache's folder must not point root elsewhere.
  const isForOther = process.geteuid?.() === 0 && uid !== 0;
  mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
  if (!lstatSync(folder).isDirectory())
    throw new SluiceError('cache.denied', 'stop', `${folder} is no folder`, { hint: 'Remove it, and ask again.' });
  if (isForOther) lchownSync(folder, uid, gid);
  const file = join(folder, `${request.id}.new`);
  const handle = openSync(file, 'wx', FILE_MODE);
  try {
    writeFileSync(handle, JSON.stringify(request));
    if (isForOther) fchownSync(handle, uid, gid);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
  renameSync(file, join(folder, `${request.id}${SUFFIX}`));
  return request;
}

/** What was asked and not taken yet, in no order. */
export function postedForgets(path: string): Posted[] {
  const folder = join(path, FOLDER);
  return names(folder)
    .filter((name) => name.endsWith(SUFFIX))
    .slice(0, REQUESTS_AT_ONCE)
    .map((name) => ({ file: join(folder, name), request: read(join(folder, name)) }));
}

/** It is in the cache, or no request at all. */
export function removePosted({ file }: Posted): void {
  rmSync(file, { force: true });
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (thrown) {
    // Nobody ever asked; or the folder is not ours to read, which is the same to us.
    if (['ENOENT', 'EACCES', 'ENOTDIR'].includes(codeOf(thrown))) return [];
    throw thrown;
  }
}

function read(file: string): ForgetRequest | undefined {
  try {
    if (statSync(file).size > FILE_BYTES_MAX) return undefined;
    const { id, tag, reason, by, atMs } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>; // looked at below
    const isRequest =
      typeof id === 'string' && /^[0-9a-f]{32}$/.test(id) && typeof tag === 'string' && typeof by === 'string';
    if (!isRequest || typeof atMs !== 'number' || (reason !== null && typeof reason !== 'string')) return undefined;
    return { id, tag, reason, by, atMs };
  } catch {
    return undefined;
  }
}
