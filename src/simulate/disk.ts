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
import { allBlocks, type BlockStore, type TagRow } from '../cache/store.ts';
import { SqliteStore } from '../cache/store-sqlite.ts';
import { hex } from '../wire/bytes.ts';
import { holdsReadings } from '../wire/classes.ts';
import { contains, type RangeSet, union } from '../wire/ranges.ts';
import { parseTagContent } from '../wire/tag.ts';
import { type Committed, type FaultyStore, faultyStore, type StoreHooks } from './faulty-store.ts';
import type { History, Place } from './history.ts';
import { MemoryStore } from './memory-store.ts';
import type { World } from './world.ts';

/** Where SQLite files go; undefined keeps stores in memory. */
export interface DiskRoom {
  readonly folder: string;
  files: number;
}

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
  ambush: StoreHooks['ambush'];
  full = false;

  constructor(world: World, history: History, room: DiskRoom | undefined) {
    this.#world = world;
    this.#history = history;
    this.#room = room;
    if (room !== undefined) this.#folder = newFolder(room);
  }

  /** As if the machine started: what was committed is there. */
  open(onCrash: () => void): BlockStore {
    const inner = this.#room === undefined ? this.#memory : new SqliteStore(openDatabase(this.#folder));
    this.ambush = undefined;
    this.#tags = inner.tags();
    const disk = this;
    const hooks: StoreHooks = {
      isFull: () => disk.full,
      get ambush() {
        return disk.ambush;
      },
      set ambush(ambush) {
        disk.ambush = ambush;
      },
      onCrash,
      onCommitted: (committed) => disk.#committed(inner, committed),
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
    for (const [list, ranges] of this.rows) copy.rows.set(list, ranges);
    for (const key of this.promised) copy.promised.add(key);
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

  #committed(inner: BlockStore, { blocks }: Committed): void {
    const runs = new Map<number, string>();
    for (const { row, bytes } of blocks) {
      if (runs.size === 0) for (const { seq, run } of inner.runs()) runs.set(seq, hex(run));
      const list = `${runs.get(row.run)}/${row.class}`;
      const range = { from: row.n0, to: row.n0 + row.rows - 1 };
      // A piece of a block that was split.
      if (contains(this.rows.get(list) ?? [], row.n0)) continue;
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
    }
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
