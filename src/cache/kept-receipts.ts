/**
 * Receipts of messages as they are kept in the file: those of one source and one commit are one packed row. A row that has
 * been released in part is written again without that part; so a commit costs some statements, however many messages it
 * took in. What is in the file is exactly what is open: one too many would pass a new message for an old one.
 */
import { ByteReader, ByteWriter } from '../wire/bytes.ts';
import type { ReceiptRow } from './store.ts';

/** SHA-256 as base64, which is what drivers take: kept as its bytes. Only texts that come back the same: the last two bits are 0. */
const HASH_BYTES = 32;
const HASH_TEXT = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;
const DIGEST_BYTES_MAX = 4096;

/** Of all receipts of one row: packet id → digest. */
type Packed = Map<number, string>;

/** Per receipt: packet id (2 bytes), then 0 and the 32 bytes of a hash, or 1 and a text. */
function encode(receipts: Packed): Uint8Array {
  const writer = new ByteWriter();
  for (const [packetId, digest] of receipts) {
    writer.u16(packetId);
    if (HASH_TEXT.test(digest)) writer.u8(0).bytes(Buffer.from(digest, 'base64'));
    else writer.u8(1).utf8(digest);
  }
  return writer.take();
}

function decode(stored: Uint8Array): Packed {
  const reader = new ByteReader(stored);
  const receipts: Packed = new Map();
  while (reader.remaining > 0) {
    const packetId = reader.u16();
    const isText = reader.u8() === 1;
    const digest = isText ? reader.utf8(DIGEST_BYTES_MAX) : Buffer.from(reader.bytes(HASH_BYTES)).toString('base64');
    receipts.set(packetId, digest);
  }
  return receipts;
}

/** Damaged: those messages are stored again when they come again. */
function decoded(stored: Uint8Array): Packed {
  try {
    return decode(stored);
  } catch {
    return new Map();
  }
}

export interface ReceiptsTable {
  all(): { readonly id: number; readonly source: string; readonly receipts: Uint8Array }[];
  /** @param receipts undefined removes the row. */
  put(id: number, source: string, receipts: Uint8Array | undefined): void;
}

interface Row {
  readonly id: number;
  readonly source: string;
  readonly receipts: Packed;
}

export class KeptReceipts {
  readonly #table: ReceiptsTable;
  /** Source → packet id → where it is. */
  #open = new Map<string, Map<number, Row>>();
  /** Of this transaction. */
  #added = new Map<string, Row>();
  #changed = new Set<Row>();
  #nextId = 1;

  constructor(table: ReceiptsTable) {
    this.#table = table;
    this.#read();
  }

  /** In order of their packet ids. */
  of(source: string): ReceiptRow[] {
    const open = [...(this.#open.get(source) ?? [])].sort(([a], [b]) => a - b);
    return open.map(([packetId, row]) => ({ source, packetId, digest: row.receipts.get(packetId) ?? '' }));
  }

  /** Replaces one of the same packet id. */
  add({ source, packetId, digest }: ReceiptRow): void {
    let row = this.#added.get(source);
    if (row === undefined) {
      row = { id: this.#nextId++, source, receipts: new Map() };
      this.#added.set(source, row);
      this.#changed.add(row);
    }
    const open = this.#ofSource(source);
    const before = open.get(packetId);
    if (before !== undefined && before !== row) this.#take(before, packetId);
    row.receipts.set(packetId, digest);
    open.set(packetId, row);
  }

  /** @param packetIds undefined for all of the source. */
  remove(source: string, packetIds?: readonly number[]): void {
    const open = this.#ofSource(source);
    for (const packetId of packetIds ?? [...open.keys()]) {
      const row = open.get(packetId);
      if (row === undefined) continue;
      this.#take(row, packetId);
      open.delete(packetId);
    }
  }

  /** Before the commit of a transaction. */
  write(): void {
    for (const row of this.#changed)
      this.#table.put(row.id, row.source, row.receipts.size === 0 ? undefined : encode(row.receipts));
    this.#changed.clear();
    this.#added.clear();
  }

  /** After a transaction that was rolled back: what the file says is true. */
  undo(): void {
    this.#changed.clear();
    this.#added.clear();
    this.#read();
  }

  #ofSource(source: string): Map<number, Row> {
    let open = this.#open.get(source);
    if (open === undefined) {
      open = new Map();
      this.#open.set(source, open);
    }
    return open;
  }

  #take(row: Row, packetId: number): void {
    row.receipts.delete(packetId);
    this.#changed.add(row);
  }

  #read(): void {
    this.#open = new Map();
    this.#nextId = 1;
    for (const { id, source, receipts } of this.#table.all()) {
      const row = { id, source, receipts: decoded(receipts) };
      for (const packetId of row.receipts.keys()) this.#ofSource(source).set(packetId, row);
      this.#nextId = id + 1;
    }
  }
}
