/**
 * What an answer can say. Numbers and names are on the wire and in metrics: appended to, never changed.
 * `systemic`: true of every batch that would be sent like this one (key, device, suite, codec), so the sender holds at once
 * instead of looking for a bad row.
 */
import { codeOf } from '../errors.ts';

export interface AnswerCode {
  readonly code: number;
  readonly name: string;
  /** Status of the HTTP answer that carries it. */
  readonly http: number;
  readonly systemic: boolean;
}

/** name: [code, HTTP status, systemic] */
const TABLE = {
  ok: [0, 200, false],

  too_large: [10, 413, false],
  truncated: [11, 400, false],
  rows_too_many: [12, 413, false],
  magic_unknown: [13, 400, true],
  suite_unknown: [14, 400, true],
  codec_unknown: [15, 400, true],
  lane_unknown: [16, 400, true],
  flags_unknown: [17, 400, true],

  signer_unknown: [20, 403, true],
  signer_revoked: [21, 403, true],
  device_foreign: [22, 403, true],
  signature_invalid: [23, 400, false],
  device_unknown: [24, 403, true],

  recipient_unknown: [30, 409, true],
  ephemeral_weak: [31, 400, false],
  not_opened: [32, 400, false],

  plain_too_large: [40, 413, false],
  not_inflated: [41, 400, false],
  plain_length_wrong: [42, 400, false],
  trailing_bytes: [43, 400, false],

  payload_version_unknown: [50, 400, true],
  payload_malformed: [51, 400, false],
  block_version_unknown: [52, 400, true],
  block_checksum: [53, 400, false],
  block_malformed: [54, 400, false],
  records_version_unknown: [55, 400, true],
  records_checksum: [56, 400, false],
  records_malformed: [57, 400, false],
  rows_mismatch: [58, 400, false],
  ranges_overlap: [59, 400, false],
  number_too_large: [60, 400, false],
  tag_outside_dictionary: [61, 400, false],

  /** The base of the dictionary is not held here: seal again with all ids. Destroys nothing. */
  dictionary_unknown: [70, 409, false],
  /** A row that the application refuses; halving finds it. */
  row_refused: [71, 422, false],
  control_malformed: [72, 422, false],

  hello_malformed: [80, 400, false],
  hello_signature_invalid: [81, 403, true],

  key_change_malformed: [82, 400, false],
  key_change_signature_invalid: [83, 403, true],
  /** A public key that protects nothing. */
  key_weak: [84, 400, true],
  /** The key of another device. */
  key_known: [85, 409, true],

  rate_limited: [90, 429, false],
  busy: [91, 503, false],
  internal: [92, 500, false],
} as const satisfies Record<string, readonly [code: number, http: number, systemic: boolean]>;

export type AnswerName = keyof typeof TABLE;

/** Number of each name. */
export const ANSWER_CODES: Readonly<Record<AnswerName, number>> = mapTable(([code]) => code);

const ALL: ReadonlyMap<number, AnswerCode> = new Map(
  Object.entries(TABLE).map(([name, [code, http, systemic]]) => [code, { code, name, http, systemic }]),
);

function mapTable<T>(value: (entry: (typeof TABLE)[AnswerName]) => T): Record<AnswerName, T> {
  // fromEntries cannot know that the keys are all of TABLE.
  return Object.fromEntries(Object.entries(TABLE).map(([name, entry]) => [name, value(entry)])) as Record<
    AnswerName,
    T
  >;
}

/** Undefined for a number of a later version: then the HTTP status decides. */
export function answerCode(code: number): AnswerCode | undefined {
  return ALL.get(code);
}

function isAnswerName(name: string): name is AnswerName {
  return Object.hasOwn(TABLE, name);
}

/** The answer to what `open` threw: the code of `envelope.<name>`, else `internal`. */
export function refusalCode(thrown: unknown): number {
  const [part, name = ''] = codeOf(thrown).split('.');
  return part === 'envelope' && isAnswerName(name) ? ANSWER_CODES[name] : ANSWER_CODES.internal;
}
