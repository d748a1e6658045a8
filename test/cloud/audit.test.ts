import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { AUDIT_KEPT_DAYS, Audit, type AuditEvent } from '../../src/cloud/audit.ts';
import { type Db, openDatabase } from '../../src/cloud/database.ts';
import { ManualClock } from '../../src/runtime/clock.ts';

let folder: string;
let db: Db;
let clock: ManualClock;
let audit: Audit;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-audit-'));
  db = openDatabase(folder);
  clock = new ManualClock();
  audit = new Audit(db, clock);
});
afterEach(() => {
  db.close();
  rmSync(folder, { recursive: true, force: true });
});

const event = (more: Partial<AuditEvent> = {}): AuditEvent => ({
  who: 'anna',
  address: '10.0.0.7',
  action: 'access.add',
  object: 'bert',
  outcome: 'done',
  ...more,
});
const refused = (address: string) => event({ who: 'nobody', address, action: 'login.refused', outcome: 'refused' });

test('tells who did what to what, from where and when, newest first', () => {
  const atMs = clock.wallMs();
  audit.record(event({ details: { role: 'reader' } }));
  clock.advance(1000);
  audit.record(event({ action: 'access.remove' }));
  expect(audit.list(10)).toEqual([
    { ...event({ action: 'access.remove' }), id: 2, atMs: atMs + 1000, details: {}, count: 1 },
    { ...event({ details: { role: 'reader' } }), id: 1, atMs, count: 1 },
  ]);
  expect(audit.list(10, 2).map(({ id }) => id)).toEqual([1]);
  expect(audit.list(10, undefined, 'access.remove').map(({ id }) => id)).toEqual([2]);
});

test('is part of the transaction that does it', () => {
  const attempt = db.transaction(() => {
    audit.record(event());
    throw new Error('not done');
  });
  expect(attempt).toThrow('not done');
  expect(audit.list(10)).toEqual([]);
});

test('joins the refusals of an address for a minute, and what was done never', () => {
  for (let i = 0; i < 50; i++) {
    audit.record(refused('10.0.0.1'));
    audit.record(refused('10.0.0.2'));
    audit.record(event());
  }
  expect(audit.list(100, undefined, 'login.refused').map(({ address, count }) => [address, count])).toEqual([
    ['10.0.0.2', 50],
    ['10.0.0.1', 50],
  ]);
  expect(audit.list(100, undefined, 'access.add')).toHaveLength(50);
  clock.advance(60_000);
  audit.record(refused('10.0.0.1'));
  expect(audit.list(100, undefined, 'login.refused')).toHaveLength(3);
});

test('joined refusals that were rolled back are begun anew', () => {
  const attempt = db.transaction(() => {
    audit.record(refused('10.0.0.1'));
    throw new Error('not done');
  });
  expect(attempt).toThrow('not done');
  audit.record(event());
  audit.record(refused('10.0.0.1'));
  expect(audit.list(10).map(({ action, count }) => [action, count])).toEqual([
    ['login.refused', 1],
    ['access.add', 1],
  ]);
});

test('a flood of refusals pushes out only refusals, and the numbers tell of it', () => {
  audit.record(event());
  db.transaction(() => {
    for (let i = 0; i < 12_000; i++) audit.record(refused(`10.1.${i >> 8}.${i & 255}`));
  })();
  expect(audit.list(100, undefined, 'access.add')).toHaveLength(1);
  const kept = audit.list(20_000, undefined, 'login.refused');
  expect(kept.length).toBeGreaterThanOrEqual(10_000);
  expect(kept.length).toBeLessThanOrEqual(10_100);
  expect(kept.at(-1)?.id).toBeGreaterThan(2);
});

test('what is older than is kept goes', () => {
  audit.record(event());
  clock.advance((AUDIT_KEPT_DAYS + 1) * 86_400_000);
  for (let i = 0; i < 100; i++) audit.record(event({ action: 'access.remove' }));
  expect(audit.list(1000, undefined, 'access.add')).toEqual([]);
  expect(audit.list(1000)).toHaveLength(100);
});

test('what is too long is cut, not refused', () => {
  audit.record(event({ who: 'x'.repeat(500), object: 'y'.repeat(5000), details: { text: 'z'.repeat(5000) } }));
  const [entry] = audit.list(1);
  expect([entry?.who.length, entry?.object?.length, entry?.details]).toEqual([128, 1024, { left_out: 'too long' }]);
});
