/**
 * From what came back over HTTP to an outcome of the answer table. A signed answer speaks for itself, whatever the HTTP
 * status around it; everything else is known by its status alone, and proves nothing.
 */
import type { CutBatch } from '../cache/types.ts';
import { codeOf, describe } from '../errors.ts';
import { type Answer, answerCode, verifyAnswer } from '../wire/answer.ts';
import { hex } from '../wire/bytes.ts';
import { retryAfterMs } from './backoff.ts';
import type { CloudKeys } from './cloud-keys.ts';
import type { Reply } from './connection.ts';
import type { Outcome } from './decide.ts';
import { isTlsFailure, tlsHint } from './tls.ts';
import type { Attempt, IgnoredAnswers } from './types.ts';

export interface AnswerReader {
  readonly device: Uint8Array;
  readonly keys: Pick<CloudKeys, 'answer' | 'follows' | 'unanswered' | 'version'>;
  readonly ignored: IgnoredAnswers;
  readonly wallMs: number;
}

/** Names whose meaning is "less at once". */
const TOO_LARGE = new Set(['too_large', 'rows_too_many', 'plain_too_large']);

const HINTS: Readonly<Record<string, string>> = {
  signer_unknown:
    "the receiver does not know this box's key: enrol it (sluice enroll), or put device.json into its list of devices",
  device_unknown: 'the receiver does not know this box: enrol it (sluice enroll)',
  signer_revoked:
    "this box's key was revoked at the receiver: if the box is still yours, make a token for it there (sluice cloud token) and enrol it anew",
  device_foreign: "this box's key belongs to another device at the receiver: was the key file copied?",
  recipient_unknown:
    'the receiver has other keys than uplink.keys.cloud names, and gives no newer key list: copy its current cloud.pub here',
  codec_unknown: 'the receiver cannot decompress this codec: set uplink.codec: deflate',
};

/** What a person should do about a systemic refusal; undefined where the code alone says it. */
export function hintOf(code: string): string | undefined {
  return HINTS[code];
}

export function readReply(reply: Reply, batch: Pick<CutBatch, 'digest' | 'rows'>, reader: AnswerReader): Attempt {
  let answer: Answer;
  try {
    answer = verifyAnswer(reply.body, reader.device, batch.digest, reader.keys);
  } catch (error) {
    const code = codeOf(error);
    const isYes = reply.status >= 200 && reply.status < 300;
    // An ordinary error page of a proxy is no failed answer.
    if (code !== 'answer.malformed' || isYes) count(reader.ignored, code);
    if (code === 'answer.key_unknown') return { outcome: unknownKey(reader.keys) };
    return { outcome: unsignedOutcome(reply, code === 'answer.foreign', reader.wallMs) };
  }
  const incarnation = hex(answer.incarnation);
  const outcome = signedOutcome(answer, reply, batch.rows, reader.wallMs);
  if (outcome.kind !== 'acknowledged') return { outcome, incarnation };
  const { code, rows, duplicates, heldGaps } = answer;
  return { outcome, answer: { code, rows, duplicates, incarnation, heldGaps }, incarnation };
}

function signedOutcome(answer: Answer, reply: Reply, rows: number, wallMs: number): Outcome {
  const meaning = answerCode(answer.code);
  if (meaning === undefined) {
    const hint = 'the receiver is newer than this gateway: update it';
    const text = `the cloud answered with code ${answer.code}, which this version does not know`;
    return { kind: 'denied', code: 'answer_code_unknown', perhapsBytes: true, text, hint };
  }
  const { name, http, systemic } = meaning;
  if (name === 'ok') {
    if (answer.rows === rows) return { kind: 'acknowledged' };
    return failed('status', `the cloud says it holds ${answer.rows} of ${rows} rows`);
  }
  if (name === 'dictionary_unknown') return { kind: 'dictionaryUnknown' };
  if (TOO_LARGE.has(name)) return { kind: 'tooLarge', signed: true };
  if (http === 429 || http >= 500) return failed('status', `the cloud says ${name}`, waitAsked(reply, wallMs));
  if (!systemic) return { kind: 'refused', code: name };
  const hint = hintOf(name) ?? 'receiver and gateway do not fit together: compare their versions';
  return { kind: 'denied', code: name, perhapsBytes: false, text: `the cloud refuses this box: ${name}`, hint };
}

/** By its status alone: it may come from anything on the way. */
export function unsignedOutcome(reply: Reply, foreign: boolean, wallMs: number): Outcome {
  const { status } = reply;
  if (status === 413) return { kind: 'tooLarge', signed: false };
  if (status === 408 || status === 429 || status >= 500 || status < 200) {
    return failed('status', `HTTP ${status}, unsigned`, waitAsked(reply, wallMs));
  }
  if (status < 300) {
    if (foreign) return failed('foreign', `HTTP ${status} with an answer to something else`);
    return failed(
      'unsigned',
      `HTTP ${status}, but not from our cloud: is there a captive portal or a proxy on the way?`,
    );
  }
  const text = `HTTP ${status}, unsigned`;
  if (status < 400)
    return denied('redirect', false, text, 'the address answers with a redirect: set uplink.url to where it points');
  if (status === 401)
    return denied('unauthorised', true, text, 'something before the receiver asks for a log-in: a proxy?');
  if (status === 403)
    return denied('forbidden', true, text, 'something before the receiver forbids it: a proxy or firewall?');
  if (status === 404)
    return denied('not_found', false, text, 'no receiver at this address: check the path in uplink.url');
  return denied(`http_${status}`, true, text, 'something before the receiver does not let it through: a proxy?');
}

/** Of a request that brought no answer at all. */
export function errorOutcome(error: unknown): Outcome {
  if (isTlsFailure(error)) return denied('tls', false, describe(error), tlsHint(error));
  return failed(codeOf(error) === 'uplink.timeout' ? 'timeout' : 'network', describe(error));
}

function waitAsked({ status, retryAfter, date }: Reply, wallMs: number): number | undefined {
  return status === 429 || status === 503 ? retryAfterMs(retryAfter, date, wallMs) : undefined;
}

function unknownKey({ follows, unanswered, version }: AnswerReader['keys']): Outcome {
  if (unanswered)
    return failed('network', 'an answer by a key that is not known, and the key list could not be fetched');
  const hint = follows
    ? `the receiver signs with a key that is not in its key list (version ${version} here), and gives no newer one: is it the right receiver, and does it serve its list (--key-list)?`
    : "the receiver signs with a key that is not in uplink.keys.cloud: copy the receiver's current public keys here";
  return denied('answer_key_unknown', false, 'an answer signed by a key that is not known', hint);
}

function denied(code: string, perhapsBytes: boolean, text: string, hint: string): Outcome {
  return { kind: 'denied', code, perhapsBytes, text, hint };
}

function failed(
  cause: 'network' | 'timeout' | 'status' | 'unsigned' | 'foreign',
  text: string,
  wait?: number,
): Outcome {
  return { kind: 'failed', cause, text, retryAfterMs: wait };
}

function count(ignored: IgnoredAnswers, code: string): void {
  if (code === 'answer.foreign') ignored.foreign++;
  else if (code === 'answer.key_unknown') ignored.unknownKey++;
  else if (code === 'answer.unsigned') ignored.unsigned++;
  else ignored.malformed++;
}
