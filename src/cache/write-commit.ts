/** The second step of a commit: what was prepared (`commit.ts`) goes to the store, its front first, with what the ledger counts. */
import type { TagBook } from './books.ts';
import { type PreparedCommit, UNKNOWN_TAG } from './commit.ts';
import type { Journal } from './journal.ts';
import { type RejectionReasons, reasonKey } from './ledger-reasons.ts';
import type { BlockStore } from './store.ts';
import type { Append } from './types.ts';

/** At most this of a rejected original is kept. */
const ORIGINAL_BYTES_MAX = 64 * 1024;
/** Of readings that were rejected without a word. */
const UNSTATED = 'unstated';

/** Inside a transaction. Fronts are written in order. */
export function writeFront(
  store: BlockStore,
  commit: PreparedCommit,
  { tags, journal, reasons }: { tags: TagBook; journal: Journal; reasons: RejectionReasons },
): void {
  if (commit.opensRun) journal.writeRun();
  for (const { id, name } of commit.sources) store.addSource(id, name);
  for (const tag of commit.tags) store.addTag(tag);
  for (const { row, bytes } of commit.front) store.addBlock(row, bytes);
  for (const { counts, alarms } of commit.appends) {
    for (const { source, rejected, duplicate, thinned, reasons: why } of counts ?? []) {
      const id = tags.source(source, () => {});
      // Of what was received, the part that was not accepted: this much adds up by itself.
      const received = rejected + duplicate + thinned;
      for (const [reason, by] of Object.entries({ received, rejected, duplicate, thinned }))
        store.count('', id, reason, by);
      let unstated = rejected;
      for (const [reason, by] of why ?? []) {
        store.count('', id, reasonKey('rejected', reasons.named(reason)), by);
        unstated -= by;
      }
      store.count('', id, reasonKey('rejected', UNSTATED), unstated);
    }
    for (const alarm of alarms ?? [])
      store.putAlarm(alarm.id, alarm.state === 'cleared' ? undefined : JSON.stringify(alarm));
  }
}

/** Whether nothing is left to be written after the front. */
export function isOnlyFront({ blocks, windows, refused, appends }: PreparedCommit): boolean {
  if (blocks.length + windows.length > 0 || refused.size > 0) return false;
  return appends.every(
    ({ counts, deadLetters, receipts }) =>
      deadLetters === undefined &&
      receipts === undefined &&
      (counts ?? []).every((each) => each.received === each.rejected + each.duplicate + each.thinned),
  );
}

/** Inside a transaction, with the front or after it, in order. */
export function writeReadings(store: BlockStore, commit: PreparedCommit, tags: TagBook): void {
  for (const { row, bytes } of commit.blocks) {
    store.addBlock(row, bytes);
    for (const [source, rows] of row.counts) store.count('', source, 'committed', rows);
  }
  for (const [source, rows] of commit.accepted) store.count('', source, 'accepted', rows);
  for (const [reason, counts] of commit.refused) {
    for (const [source, rows] of counts) {
      if (reason === UNKNOWN_TAG) store.count('', source, 'received', rows);
      store.count('', source, 'rejected', rows);
      store.count('', source, reasonKey('rejected', reason), rows);
    }
  }
  for (const append of commit.appends) writeAppend(store, append, tags);
}

function writeAppend(store: BlockStore, { counts, deadLetters, receipts }: Append, tags: TagBook): void {
  for (const { source, received, rejected, duplicate, thinned } of counts ?? [])
    store.count(
      '',
      tags.source(source, () => {}),
      'received',
      received - rejected - duplicate - thinned,
    );
  for (const letter of deadLetters ?? []) {
    store.addDeadLetter({ ...letter, original: letter.original.subarray(0, ORIGINAL_BYTES_MAX) });
  }
  for (const source of receipts?.clear ?? []) store.removeReceipts(source);
  for (const { source, packetIds } of receipts?.release ?? []) store.removeReceipts(source, packetIds);
  for (const receipt of receipts?.add ?? []) store.addReceipt(receipt);
}
