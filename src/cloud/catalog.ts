/**
 * Names and the small numbers that stand for them on disk: devices, runs, tags. Numbers are given on first sight, in the
 * transaction that needs them; after a rollback `forget` empties what was remembered.
 */
import type { Statement } from 'better-sqlite3';
import { parseTagContent, type TagId } from '../wire/tag.ts';
import type { Db } from './database.ts';
import type { TagKey } from './tier.ts';

export interface TagRow {
  readonly id: number;
  readonly device: string;
  readonly tag: TagId;
  /** Null until the gateway's TAG row has come. */
  readonly name: string | null;
  readonly content: string | null;
}

const TAG_COLUMNS =
  'SELECT tag.id, device.device, tag.tag, tag.name, tag.content FROM tag JOIN device ON device.id = tag.device';
/** Past this many the memory of numbers starts again: each costs about 150 bytes. */
const REMEMBERED_MAX = 2_000_000;

export class Catalog {
  readonly #devices = new Map<string, number>();
  readonly #runs = new Map<string, number>();
  readonly #tags = new Map<number, Map<TagId, number>>();
  #remembered = 0;
  readonly #db: Db;
  readonly #findDevice: Statement<[string], { id: number }>;
  readonly #addDevice: Statement<[string, number, number]>;
  readonly #findRun: Statement<[number, string], { id: number }>;
  readonly #addRun: Statement<[number, string, number]>;
  readonly #findTag: Statement<[number, string], { id: number }>;
  readonly #addTag: Statement<[number, string]>;
  readonly #nameTag: Statement<[string, string, number]>;

  constructor(db: Db) {
    this.#db = db;
    this.#findDevice = db.prepare('SELECT id FROM device WHERE device = ?');
    this.#addDevice = db.prepare('INSERT INTO device (device, first_seen_ms, last_seen_ms) VALUES (?, ?, ?)');
    this.#findRun = db.prepare('SELECT id FROM run WHERE device = ? AND run = ?');
    this.#addRun = db.prepare('INSERT INTO run (device, run, first_seen_ms) VALUES (?, ?, ?)');
    this.#findTag = db.prepare('SELECT id FROM tag WHERE device = ? AND tag = ?');
    this.#addTag = db.prepare('INSERT INTO tag (device, tag) VALUES (?, ?)');
    this.#nameTag = db.prepare('UPDATE tag SET name = ?, content = ? WHERE id = ?');
  }

  /** In order of first sight. */
  devices(): { id: number; device: string }[] {
    return this.#db.prepare<[], { id: number; device: string }>('SELECT id, device FROM device ORDER BY id').all();
  }

  /** What the tags of a device are called; their id where no TAG row has come. */
  namesOf(device: string): (tag: TagId) => string {
    const names = new Map(this.tags(0, Number.MAX_SAFE_INTEGER, device).map(({ tag, name }) => [tag, name ?? tag]));
    return (tag) => names.get(tag) ?? tag;
  }

  findDevice(device: string): number | undefined {
    return this.#devices.get(device) ?? this.#findDevice.get(device)?.id;
  }

  device(device: string, nowMs: number): number {
    let id = this.findDevice(device);
    id ??= Number(this.#addDevice.run(device, nowMs, nowMs).lastInsertRowid);
    this.#devices.set(device, id);
    return id;
  }

  findRun(device: number, run: string): number | undefined {
    return this.#runs.get(`${device} ${run}`) ?? this.#findRun.get(device, run)?.id;
  }

  run(device: number, run: string, nowMs: number): number {
    let id = this.findRun(device, run);
    id ??= Number(this.#addRun.run(device, run, nowMs).lastInsertRowid);
    this.#remember();
    this.#runs.set(`${device} ${run}`, id);
    return id;
  }

  findTag(device: number, tag: TagId): number | undefined {
    return this.#tags.get(device)?.get(tag) ?? this.#findTag.get(device, tag)?.id;
  }

  /** A tag that no TAG row has told of yet is kept under its id. */
  tag(device: number, tag: TagId): number {
    const known = this.#tags.get(device)?.get(tag);
    if (known !== undefined) return known;
    const id = this.#findTag.get(device, tag)?.id ?? Number(this.#addTag.run(device, tag).lastInsertRowid);
    this.#remember();
    let tags = this.#tags.get(device);
    if (tags === undefined) {
      tags = new Map();
      this.#tags.set(device, tags);
    }
    tags.set(tag, id);
    return id;
  }

  /** @throws wire.malformed for content that is not canonical */
  defineTag(device: number, tag: TagId, content: string): void {
    const { name } = parseTagContent(content);
    this.#nameTag.run(name, content, this.tag(device, tag));
  }

  /** All tags called `name`, of one device or of any: changed content is a tag of its own with the same name. */
  tagsNamed(name: string, device?: string): TagRow[] {
    const where = `${TAG_COLUMNS} WHERE tag.name = ?${device === undefined ? '' : ' AND device.device = ?'} ORDER BY tag.id`;
    return this.#db.prepare<string[], TagRow>(where).all(name, ...(device === undefined ? [] : [device]));
  }

  tagById(tag: TagId, device?: string): TagRow[] {
    const where = `${TAG_COLUMNS} WHERE tag.tag = ?${device === undefined ? '' : ' AND device.device = ?'} ORDER BY tag.id`;
    return this.#db.prepare<string[], TagRow>(where).all(tag, ...(device === undefined ? [] : [device]));
  }

  /** Tags after `afterId`, in order of their numbers, so that many can be looked through in parts. */
  tags(afterId: number, limit: number, device?: string): TagRow[] {
    const where = `${TAG_COLUMNS} WHERE tag.id > ?${device === undefined ? '' : ' AND device.device = ?'} ORDER BY tag.id LIMIT ?`;
    return this.#db
      .prepare<(string | number)[], TagRow>(where)
      .all(afterId, ...(device === undefined ? [] : [device]), limit);
  }

  /** Number of a tag; undefined when nothing was ever received of it. */
  idOf({ device, tag }: TagKey): number | undefined {
    const deviceId = this.findDevice(device);
    return deviceId === undefined ? undefined : this.findTag(deviceId, tag);
  }

  forget(): void {
    this.#devices.clear();
    this.#runs.clear();
    this.#tags.clear();
    this.#remembered = 0;
  }

  #remember(): void {
    if (this.#remembered++ >= REMEMBERED_MAX) this.forget();
  }
}
