/**
 * What survives a process: the store of one gateway's cache, in memory or as a real SQLite file, and the memory of what
 * was committed to it. It can be copied between two commits, as a backup or a cloned card is.
 */
import { copyFileSync, existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { decodeContent } from '../cache/content.ts';
import { openDatabase } from '../cache/database.ts';
import { DATABASE_FILE, makeFolder } from '../cache/folder.ts';
import { numbersOfTags } from '../cache/forget/rewrite.ts';
import type { Ballast } from '../cache/ladder/ballast.ts';
import type { DiskRoom as Room } from '../cache/ladder/room.ts';
import { allBlocks, type BlockStore, type TagRow } from '../cache/store.ts';
import { SqliteStore } from '../cache/store-sqlite.ts';
import { decodeWindows } from '../cache/windows/block.ts';
import { W, WINDOW_NUMBERS } from '../cache/windows/window.ts';
import { hex } from '../wire/bytes.ts';
import { holdsReadings } from '../wire/classes.ts';
import { contains, type RangeSet, union } from '../wire/ranges.ts';
import { parseTagContent } from '../wire/tag.ts';
import { allWindows, type Committed, type FaultyStore, faultyStore, type StoreHooks } from './faulty-store.ts';
import type { History, Place } from './history.ts';
import { MemoryStore } from './memory-store.ts';
import { windowKey } from './windows.ts';
import type { World } from './world.ts';

/** Where SQLite files go; undefined keeps stores in memory. */
export interface DiskRoom {
  readonly folder: string;
  files: number;
}

/** Of the whole disk; what others leave of it is what matters. */
const TOTAL_BYTES = 100_000_000;
const BALLAST_BYTES = 100_000;

/** @param fresh those of its blocks whose rows are new. */
export type OnCommitted = (store: BlockStore, committed: Committed, fresh: Committed['blocks']) => void;

export class Disk implements Pick<StoreHooks, 'ambush'> {
  readonly #world: World;
  readonly #history: History;
  readonly #room: DiskRoom | undefined;
  #memory = new MemoryStore();
  #folder = '';
  #open: { readonly faulty: FaultyStore; readonly inner: BlockStore } | undefined;
  #tags: TagRow[] = [];
  /** Rows that were committed to it or to what it was copied from, by `run/class`. */
  readonly rows = new Map<string, RangeSet>();
  /** Readings that somebody was told are safe here. */
  readonly promised = new Set<string>();
  /** Windows that went with time or for room, as `windowKey`. */
  readonly windowsRemoved = new Set<string>();
  ambush: StoreHooks['ambush'];
  full = false;
  /** What others have of it. */
  othersBytes = 0;
  /** A file does not shrink. */
  #fileBytes = 0;
  #isBallastHeld = false;

  constructor(world: World, history: History, room: DiskRoom | undefined) {
    this.#world = world;
    this.#history = history;
    this.#room = room;
    if (room !== undefined) this.#folder = newFolder(room);
  }

  /** As `statfs` would say. */
  readonly room = (): Room => ({ fileBytes: this.#fileBytes, freeBytes: this.#freeBytes(), totalBytes: TOTAL_BYTES });

  #freeBytes(): number {
    const own = this.#fileBytes + (this.#isBallastHeld ? BALLAST_BYTES : 0);
    return Math.max(0, TOTAL_BYTES - this.othersBytes - own);
  }

  /** @param left bytes that others leave free. */
  fill(left: number): void {
    this.othersBytes = 0;
    this.othersBytes = this.#freeBytes() - left;
  }

  /** A file of nothing beside the store; it outlives processes. */
  ballast(): Ballast {
    const disk = this;
    return {
      bytes: BALLAST_BYTES,
      get isHeld() {
        return disk.#isBallastHeld;
      },
      release: () => {
        if (disk.#isBallastHeld) disk.#world.count('ballasts given up');
        disk.#isBallastHeld = false;
      },
      restore: () => {
        disk.#isBallastHeld ||= disk.#freeBytes() >= BALLAST_BYTES;
        return disk.#isBallastHeld;
      },
    };
  }

  /** In the middle of a transaction: what it wrote so far needs more than there is. */
  #isFull(inner: BlockStore): boolean {
    if (this.full) return true;
    return this.othersBytes > 0 && inner.bytesUsed() > this.#fileBytes + this.#freeBytes();
  }

  /** As if the machine started: what was committed is there. */
  open(onCrash: () => void, onCommitted: OnCommitted): BlockStore {
    const inner = this.#room === undefined ? this.#memory : new SqliteStore(openDatabase(this.#folder));
    this.ambush = undefined;
    this.#tags = inner.tags();
    const disk = this;
    const hooks: StoreHooks = {
      isFull: () => disk.#isFull(inner),
      get ambush() {
        return disk.ambush;
      },
      set ambush(ambush) {
        disk.ambush = ambush;
      },
      onCrash,
      onCommitted: (committed) => {
        const fresh = disk.#committed(inner, committed);
        onCommitted(inner, committed, fresh);
      },
    };
    this.#open = { faulty: faultyStore(inner, hooks), inner };
    return this.#open.faulty.store;
  }

  /** The process is gone, in order or not. A real file is then read back as a copy of what was on the disk at that moment. */
  closed(): void {
    const open = this.#open;
    if (open === undefined) return;
    this.#open = undefined;
    open.faulty.kill();
    if (this.#room === undefined) return;
    this.#folder = copyFolder(this.#folder, this.#room);
    open.inner.close();
  }

  copy(): Disk {
    const copy = new Disk(this.#world, this.#history, this.#room);
    if (this.#room === undefined) copy.#memory = this.#memory.copy();
    else copy.#folder = copyFolder(this.#folder, this.#room);
    copy.#fileBytes = this.#fileBytes;
    for (const [list, ranges] of this.rows) copy.rows.set(list, ranges);
    for (const key of this.promised) copy.promised.add(key);
    for (const key of this.windowsRemoved) copy.windowsRemoved.add(key);
    return copy;
  }

  /** Looks at what is committed, between two events. */
  read(look: (store: BlockStore) => void): void {
    const isOpen = this.#open !== undefined || this.#room === undefined;
    const store = this.#open?.inner ?? (isOpen ? this.#memory : new SqliteStore(openDatabase(this.#folder)));
    look(store);
    if (!isOpen) store.close();
  }

  holds(key: string): boolean {
    const place = this.#history.places.get(key);
    return place !== undefined && contains(this.rows.get(place.list) ?? [], place.n);
  }

  /** As far as they were ever used. */
  tagNames(): string[] {
    return this.#tags.map(({ content }) => parseTagContent(content).name);
  }

  /** Readings of a tag that are there. */
  placesOf(tag: string): Place[] {
    const found: Place[] = [];
    this.read((store) => {
      const runs = new Map(store.runs().map(({ seq, run }) => [seq, hex(run)]));
      const mine = new Set(
        store.tags().flatMap(({ seq, content }) => (parseTagContent(content).name === tag ? [seq] : [])),
      );
      for (const row of allBlocks(store)) {
        if (!holdsReadings(row.class)) continue;
        const content = decodeContent(row, store.block(row.id));
        if (content.kind !== 'readings') continue;
        for (const { from, to } of numbersOfTags(content.columns, mine))
          for (let n = from; n <= to; n++) found.push({ list: `${runs.get(row.run)}/${row.class}`, n });
      }
    });
    return found;
  }

  #windowsRemoved(inner: BlockStore, before: Committed['windows']): void {
    const left = new Set([...allWindows(inner)].map(({ id }) => id));
    for (const { id, block } of before.values()) {
      if (left.has(id)) continue;
      const { periodMs, length, tag, numbers } = decodeWindows(block);
      for (let row = 0; row < length; row++)
        this.windowsRemoved.add(windowKey(periodMs, tag[row] ?? -1, numbers[row * WINDOW_NUMBERS + W.start] ?? 0));
    }
  }

  #committed(inner: BlockStore, { blocks, removed, writes, windows }: Committed): Committed['blocks'] {
    if (windows.size > 0) this.#windowsRemoved(inner, windows);
    this.#fileBytes = Math.max(this.#fileBytes, inner.bytesUsed());
    if (writes.has('divide')) this.#world.count('blocks acknowledged in part');
    if (writes.has('putWindows')) this.#world.count('transactions that changed windows');
    const runs = new Map<number, string>();
    return blocks.filter(({ row, bytes }) => {
      if (runs.size === 0) for (const { seq, run } of inner.runs()) runs.set(seq, hex(run));
      const list = `${runs.get(row.run)}/${row.class}`;
      const range = { from: row.n0, to: row.n0 + row.rows - 1 };
      if (contains(this.rows.get(list) ?? [], row.n0)) {
        // Rows that moved: some blocks became one, or a block was cut.
        const isRolled = removed.filter((each) => each.run === row.run && each.class === row.class).length > 1;
        this.#world.count(isRolled ? 'blocks rolled up' : 'blocks cut');
        return false;
      }
      if (this.#tags.length === 0 || holdsReadings(row.class)) this.#tags = inner.tags();
      const rows = this.#history.add(list, row, bytes, (seq) => this.#tags[seq]);
      if (holdsReadings(row.class)) {
        rows.forEach(({ key }, i) => {
          if (this.holds(key)) this.#world.problem(`committed twice: ${key}`);
          this.#history.places.set(key, { list, n: row.n0 + i });
        });
      }
      this.rows.set(list, union(this.rows.get(list) ?? [], [range]));
      this.#world.log(`committed ${list.slice(0, 8)}${list.slice(32)} ${range.from}–${range.to}`);
      return true;
    });
  }
}

function newFolder(room: DiskRoom): string {
  const folder = join(room.folder, `disk-${room.files++}`);
  mkdirSync(folder);
  makeFolder(folder);
  return folder;
}

/** Log included: what SQLite had not folded into its file yet is part of the disk. */
function copyFolder(from: string, room: DiskRoom): string {
  const to = newFolder(room);
  for (const name of [DATABASE_FILE, `${DATABASE_FILE}-wal`]) {
    if (existsSync(join(from, name))) copyFileSync(join(from, name), join(to, name));
  }
  return to;
}
