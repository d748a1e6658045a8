// What a stolen card says: nothing with a key, everything without. And what a wrong key, a moved row and a flipped bit do.
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import Database from 'better-sqlite3';
import fc from 'fast-check';
import { type AtRestKeys, atRestKid, Sealer } from '../../src/cache/at-rest.ts';
import { makeAtRestKey, parseAtRestKey, readAtRestKeys } from '../../src/cache/at-rest-key.ts';
import { keyWornText, ROWS_A_KEY } from '../../src/cache/at-rest-rows.ts';
import { openDatabase } from '../../src/cache/database.ts';
import { makeFolder } from '../../src/cache/folder.ts';
import { readCache } from '../../src/cache/reader.ts';
import { SqliteStore } from '../../src/cache/store-sqlite.ts';
import { ChunkBuilder } from '../../src/reading.ts';
import { drain, FarSide, folder, openClock, openCore, START_MS, tag } from './rig.ts';

const KEY = new Uint8Array(32).fill(7);
const OTHER = new Uint8Array(32).fill(8);
const sealing: AtRestKeys = { current: KEY, previous: [] };
const clear: AtRestKeys = { current: undefined, previous: [] };
const bytes = fc.uint8Array({ maxLength: 300 });

let place: ReturnType<typeof folder>;
beforeEach(() => {
  place = folder();
});
afterEach(() => place.remove());

/** Texts that no packing makes unreadable: brotli finds nothing in them to shorten. */
const SECRETS = Array.from({ length: 40 }, (_, i) => `Qz${(i * 2654435761) % 999983}xWv${(i * 40503) % 65521}Kj`);
function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (thrown) {
    return thrown;
  }
  throw new Error('nothing was thrown');
}

const LETTER = 'the original of a dead letter, word for word';

function write(keys: AtRestKeys, secrets = SECRETS): void {
  const clock = openClock();
  const core = openCore(place.path, clock, {}, keys);
  core.registerTag(tag(0, 'press/order', 'text'));
  core.registerTag(tag(1, 'press/force'));
  for (const [i, secret] of secrets.entries()) {
    const builder = new ChunkBuilder();
    builder.pushText(0, START_MS + i * 1000, secret, 0);
    builder.push(1, START_MS + i * 1000, i + 0.5, 0);
    const original = Buffer.from(`${LETTER} ${i}`);
    const letter = { atMs: START_MS, source: 'press', subject: 'press/order', reason: 'no', original };
    core.add({ chunk: builder.take(), deadLetters: [letter] });
    clock.advance(1000);
    core.commit();
  }
  core.close();
}

/** All bytes that are left on the disk. */
function onDisk(): string {
  return ['cache.db', 'cache.db-wal']
    .map((name) => {
      try {
        return readFileSync(join(place.path, name)).toString('latin1');
      } catch {
        return '';
      }
    })
    .join('');
}

function texts(keys: () => AtRestKeys): unknown[] {
  const reader = readCache(place.path, keys);
  try {
    return reader.range('press/order', 0, Number.MAX_SAFE_INTEGER).map(({ value }) => value);
  } finally {
    reader.close();
  }
}

describe('a sealed row', () => {
  test('opens as what it was, for its own table and id only', () => {
    const sealer = new Sealer(sealing);
    fc.assert(
      fc.property(bytes, fc.nat(), (plain, id) => {
        const sealed = sealer.seal('blocks', id, plain);
        expect(Buffer.compare(sealer.open('blocks', id, sealed) ?? Buffer.of(1), plain)).toBe(0);
        expect(sealer.open('blocks', id + 1, sealed)).toBeUndefined();
        expect(sealer.open('dead_letters', id, sealed)).toBeUndefined();
        expect(new Sealer({ current: OTHER, previous: [] }).open('blocks', id, sealed)).toBeUndefined();
      }),
    );
  });

  test('does not open with any byte changed', () => {
    const sealer = new Sealer(sealing);
    const sealed = sealer.seal('blocks', 5, Uint8Array.of(1, 2, 3));
    for (let at = 0; at < sealed.length; at++) {
      const changed = sealed.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(sealer.open('blocks', 5, changed)).toBeUndefined();
    }
  });

  test('has a nonce of its own each time', () => {
    const sealer = new Sealer(sealing);
    const nonces = Array.from({ length: 100 }, () =>
      Buffer.from(sealer.seal('blocks', 1, Uint8Array.of(1)).subarray(5, 17)).toString('hex'),
    );
    expect(new Set(nonces).size).toBe(100);
  });
});

describe('a key', () => {
  test('is read as keygen writes it, in hex and in base64', () => {
    const made = makeAtRestKey();
    const secret = parseAtRestKey(made);
    expect(secret.length).toBe(32);
    for (const form of ['hex', 'base64'] as const)
      expect(parseAtRestKey(`${Buffer.from(secret).toString(form)}\n`)).toEqual(secret);
    expect(thrownBy(() => parseAtRestKey('secret words'))).toMatchObject({ code: 'cache.key' });
  });

  test('is refused from a file that others can read', () => {
    const file = join(place.path, 'cache.key');
    writeFileSync(file, makeAtRestKey(), { mode: 0o600 });
    expect(readAtRestKeys({ key: file, previous: [] }).current?.length).toBe(32);
    chmodSync(file, 0o640);
    expect(thrownBy(() => readAtRestKeys({ key: file, previous: [] }))).toMatchObject({ code: 'credential.exposed' });
  });
});

describe('a cache with a key', () => {
  test('shows none of its readings and dead letters in any byte on the disk', () => {
    write(clear);
    const plain = onDisk();
    expect(SECRETS.filter((secret) => plain.includes(secret)).length).toBeGreaterThan(SECRETS.length / 2);
    expect(plain).toContain(LETTER);
    place.remove();
    write(sealing);
    const sealed = onDisk();
    // The last values are named in the documents as not sealed: this cache saved none.
    expect(SECRETS.filter((secret) => sealed.includes(secret))).toEqual([]);
    expect(sealed).not.toContain(LETTER);
    expect(texts(() => sealing)).toEqual(SECRETS);
  });

  test('delivers what it sealed', () => {
    write(sealing);
    const core = openCore(place.path, openClock(), {}, sealing);
    const far = new FarSide();
    drain(core, far);
    expect(far.readings()).toHaveLength(SECRETS.length * 2);
    core.close();
    const reader = readCache(place.path, () => sealing);
    expect(reader.verify()).toMatchObject({ ok: true, damaged: [] });
    expect(Buffer.from(reader.deadLetters(1)[0]?.original ?? []).toString()).toBe(`${LETTER} 39`);
    reader.close();
  });

  test('opens its directory without the key, and says what is missing for the rest', () => {
    write(sealing);
    const reader = readCache(place.path);
    expect(reader.ledger().sources.press?.accepted).toBe(SECRETS.length * 2);
    expect(reader.pending().length).toBeGreaterThan(0);
    expect(thrownBy(() => reader.tail('*', 1))).toMatchObject({ code: 'cache.key_missing' });
    expect(thrownBy(() => reader.verify())).toMatchObject({ code: 'cache.key_missing' });
    expect(thrownBy(() => reader.deadLetters(1))).toMatchObject({ code: 'cache.key_missing' });
    reader.close();
    expect(thrownBy(() => texts(() => ({ current: OTHER, previous: [] })))).toMatchObject({ code: 'cache.key_wrong' });
  });

  test('refuses to start with another key, or none, and is not changed by that', () => {
    write(sealing);
    const before = texts(() => sealing);
    const wrong = thrownBy(() => openCore(place.path, openClock(), {}, { current: OTHER, previous: [] }));
    expect(wrong).toMatchObject({ code: 'cache.key_wrong', recovery: 'stop' });
    expect(thrownBy(() => openCore(place.path, openClock()))).toMatchObject({ code: 'cache.key_missing' });
    expect(texts(() => sealing)).toEqual(before);
    const reader = readCache(place.path, () => sealing);
    expect(reader.verify()).toMatchObject({ ok: true, damaged: [] });
    reader.close();
  });

  test('takes rows that were swapped for damage, each accounted for', () => {
    write(sealing);
    const db = new Database(join(place.path, 'cache.db'));
    const [a, b] = db.prepare('SELECT id FROM journal WHERE class = 3 ORDER BY id LIMIT 2').pluck().all() as number[];
    db.prepare('UPDATE blocks SET id = -1 WHERE id = ?').run(a);
    db.prepare('UPDATE blocks SET id = ? WHERE id = ?').run(a, b);
    db.prepare('UPDATE blocks SET id = ? WHERE id = -1').run(b);
    db.close();
    const before = readCache(place.path, () => sealing);
    expect(before.verify().damaged.map(({ id }) => id)).toEqual([a, b]);
    before.close();
    const core = openCore(place.path, openClock(), {}, sealing);
    const far = new FarSide();
    drain(core, far);
    drain(core, far);
    expect(core.stats()).toMatchObject({ damagedBlocks: 2 });
    expect(core.stats().ledger.targets.cloud?.press).toMatchObject({ damaged: 4, pending: 0 });
    expect(far.readings()).toHaveLength(SECRETS.length * 2 - 4);
    core.close();
  });

  test('seals what it sets aside as damaged', () => {
    write(clear);
    makeFolder(place.path);
    const store = new SqliteStore(openDatabase(place.path), sealing);
    const [row] = store.pendingBlocks(1, 3, 0, 1);
    if (row === undefined) throw new Error('written above');
    store.transaction(() => store.setAside(row, 5));
    store.close();
    const db = new Database(join(place.path, 'cache.db'), { readonly: true });
    const { block, sealed } = db.prepare('SELECT block, sealed FROM damaged').get() as {
      block: Buffer;
      sealed: number;
    };
    db.close();
    expect(sealed).toBe(1);
    expect(new Sealer(sealing).open('damaged', row.id, block)?.[0]).toBe(1);
  });
});

describe('a change', () => {
  test('to a key, to another, and to none keeps all readable, and asks for a key no longer than a row needs it', () => {
    const [first, second, third] = [SECRETS.slice(0, 10), SECRETS.slice(10, 20), SECRETS.slice(20, 30)];
    write(clear, first);
    write(sealing, second);
    write({ current: OTHER, previous: [KEY] }, third);
    write({ current: undefined, previous: [KEY, OTHER] }, SECRETS.slice(30));
    const all = [...first, ...second, ...third, ...SECRETS.slice(30)];
    expect(new Set(texts(() => ({ current: undefined, previous: [KEY, OTHER] })))).toEqual(new Set(all));
    expect(
      thrownBy(() => openCore(place.path, openClock(), {}, { current: undefined, previous: [OTHER] })),
    ).toMatchObject({ code: 'cache.key_wrong', message: expect.stringContaining(atRestKid(KEY)) });
    const db = new Database(join(place.path, 'cache.db'));
    const prefix = Buffer.from([0xe1, ...Buffer.from(atRestKid(KEY), 'hex')]);
    for (const id of db.prepare('SELECT id FROM blocks WHERE substr(block, 1, 5) = ?').pluck().all(prefix)) {
      db.prepare('DELETE FROM blocks WHERE id = ?').run(id);
      db.prepare('DELETE FROM journal WHERE id = ?').run(id);
    }
    db.close();
    openCore(place.path, openClock(), {}, { current: undefined, previous: [OTHER] }).close();
  });

  test('of the key seals dead letters anew: they may stay for years', () => {
    write(sealing, SECRETS.slice(0, 3));
    openCore(place.path, openClock(), {}, { current: OTHER, previous: [KEY] }).close();
    const reader = readCache(place.path, () => ({ current: OTHER, previous: [] }));
    expect(reader.deadLetters(5).map(({ original }) => Buffer.from(original).toString())).toContain(`${LETTER} 0`);
    reader.close();
  });
});

describe('the rows that a key has sealed', () => {
  const use = () => {
    const reader = readCache(place.path);
    try {
      return reader.atRestKey();
    } finally {
      reader.close();
    }
  };
  /** As after years. */
  const age = (rows: number) => {
    const db = new Database(join(place.path, 'cache.db'));
    const kid = atRestKid(KEY);
    db.prepare("UPDATE meta SET value = ? WHERE key = 'at rest rows'").run(
      JSON.stringify({ current: kid, rows: { [kid]: rows } }),
    );
    db.close();
  };

  test('are counted, never too few, over restarts, and begin anew with another key', () => {
    write(clear);
    expect(use()).toBeUndefined();
    write(sealing);
    expect(use()).toEqual({ kid: atRestKid(KEY), rows: 65_536 });
    age(1_000_000);
    write(sealing);
    expect(use()).toEqual({ kid: atRestKid(KEY), rows: 1_065_536 });
    write({ current: OTHER, previous: [KEY] });
    expect(use()).toEqual({ kid: atRestKid(OTHER), rows: 65_536 });
    write({ current: KEY, previous: [OTHER] });
    expect(use()).toEqual({ kid: atRestKid(KEY), rows: 1_131_072 });
    write({ current: undefined, previous: [KEY, OTHER] });
    expect(use()).toBeUndefined();
  });

  test('are never too few in the file, whatever transactions are undone', () => {
    makeFolder(place.path);
    const store = new SqliteStore(openDatabase(place.path), sealing);
    const letter = { atMs: 0, source: 'a', subject: 'b', reason: 'c', original: Buffer.from('d') };
    let sealed = 0;
    const some = (isUndone: boolean) =>
      store.transaction(() => {
        for (let i = 0; i < 1000; i++, sealed++) store.addDeadLetter(letter);
        store.trimDeadLetters(10);
        if (isUndone) throw new Error('no room');
      });
    for (let i = 0; i < 75; i++) {
      if (i % 3 === 0) expect(thrownBy(() => some(true))).toMatchObject({ message: 'no room' });
      else some(false);
      expect(use()?.rows).toBeGreaterThanOrEqual(sealed);
    }
    expect(use()?.rows).toBeLessThan(sealed + 70_000);
    store.close();
  });

  test('are too many for somebody to hear of it, at half of what a key may', () => {
    write(sealing);
    age(2 ** 31 - 1);
    expect(keyWornText(use())).toBeUndefined();
    age(2 ** 31);
    expect(keyWornText(use())).toMatch(
      `key ${atRestKid(KEY)} of cache.encryptAtRest has sealed 2147483648 rows, 50 % of what one key may: make another`,
    );
    age(ROWS_A_KEY * 0.99);
    expect(keyWornText(use())).toMatch('99 %');
  });
});
