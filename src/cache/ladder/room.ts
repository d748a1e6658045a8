/**
 * What the cache may use: `bytesMax`, or less when the disk has less. What its file has already is its own, however full
 * others make the disk: giving readings up would not make the file any smaller.
 */
import { statfsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DATABASE_FILE } from '../folder.ts';
import type { BlockStore } from '../store.ts';
import type { Ballast } from './ballast.ts';

export interface DiskRoom {
  /** Of the database's file. */
  readonly fileBytes: number;
  readonly freeBytes: number;
  /** Of the whole file system. */
  readonly totalBytes: number;
}

export interface RoomOptions {
  readonly bytesMax: number;
  /** Left to others; default 0. */
  readonly diskFreeMin?: number;
  /** Asked every few seconds; undefined where there is no disk. */
  readonly disk?: (() => DiskRoom) | undefined;
  readonly ballast?: Ballast | undefined;
}

const LOOK_EVERY_MS = 2000;
/** On a disk that is not much larger than `diskFreeMin`, others get this share of it. */
const FREE_SHARE_MAX = 0.1;
/** So little is left that the next transactions may fail: now the ballast goes. */
const LOW_BYTES = 500_000;
/** Kept from readings, as a share of the limit, for alarms, marks and the ledger. */
const MARGIN_SHARE = 1 / 64;

export class Room {
  readonly #store: Pick<BlockStore, 'bytesUsed' | 'writeBack'>;
  readonly #options: RoomOptions;
  #disk: DiskRoom | undefined;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #writtenBackMs = Number.NEGATIVE_INFINITY;
  /** The most that was ever in use: what is free again of it stays the file's, whether its pages are still in the WAL or not. */
  #ownBytes = 0;

  constructor(store: Pick<BlockStore, 'bytesUsed' | 'writeBack'>, options: RoomOptions) {
    this.#store = store;
    this.#options = options;
  }

  /** Bytes of the file that may be in use. @param nowMs monotonic */
  limit(nowMs: number): number {
    this.#look(nowMs);
    return Math.min(this.#options.bytesMax, this.#ofDisk());
  }

  /** Whether the disk allows less than the configuration. */
  get isFreeDisk(): boolean {
    return this.#ofDisk() < this.#options.bytesMax;
  }

  /** What of the limit readings must leave. @param nowMs monotonic */
  margin(nowMs: number): number {
    return this.limit(nowMs) * MARGIN_SHARE;
  }

  /** Before a transaction that must not fail for want of room, and every few seconds: holds the ballast or lets it go. */
  secure(nowMs: number): void {
    const { ballast } = this.#options;
    if (ballast === undefined) return;
    this.#look(nowMs, ballast.isHeld);
    const free = this.#disk?.freeBytes ?? Number.POSITIVE_INFINITY;
    if (ballast.isHeld && free < LOW_BYTES) this.giveUpBallast();
    else if (!ballast.isHeld && free >= ballast.bytes + 2 * LOW_BYTES) {
      ballast.restore();
      this.#lookedMs = Number.NEGATIVE_INFINITY;
    } else if (!ballast.isHeld && nowMs - this.#writtenBackMs >= LOOK_EVERY_MS) {
      this.#writtenBackMs = nowMs;
      this.#store.writeBack();
    }
  }

  /** The disk said it is full. @returns whether there was anything to give up. */
  giveUpBallast(): boolean {
    const { ballast } = this.#options;
    if (ballast === undefined || !ballast.isHeld) return false;
    ballast.release();
    // At once: a log that grew on would take the room that writing it back needs.
    this.#store.writeBack();
    this.#lookedMs = Number.NEGATIVE_INFINITY;
    return true;
  }

  #look(nowMs: number, anew = false): void {
    const { disk } = this.#options;
    if (disk === undefined || (!anew && nowMs - this.#lookedMs < LOOK_EVERY_MS)) return;
    this.#disk = disk();
    this.#lookedMs = nowMs;
  }

  #ofDisk(): number {
    if (this.#disk === undefined) return Number.POSITIVE_INFINITY;
    const { diskFreeMin = 0, ballast } = this.#options;
    const { fileBytes, freeBytes, totalBytes } = this.#disk;
    const others = Math.min(diskFreeMin, totalBytes * FREE_SHARE_MAX);
    // The room of a ballast that was given up is not for readings.
    const kept = others + (ballast === undefined || ballast.isHeld ? 0 : ballast.bytes);
    this.#ownBytes = Math.max(this.#ownBytes, this.#store.bytesUsed(), fileBytes);
    return Math.max(this.#ownBytes, fileBytes + Math.max(0, freeBytes - kept));
  }
}

/** The disk of a cache folder. */
export function diskOf(folder: string): () => DiskRoom {
  const file = join(folder, DATABASE_FILE);
  return () => {
    const { bavail, blocks, bsize } = statfsSync(folder);
    const fileBytes = statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    return { fileBytes, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
  };
}
