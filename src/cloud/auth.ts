/**
 * Who may ask. One token for reading, one for closing alarms; only their hashes stay in memory. Without a token the receiver
 * listens on loopback only. An address that keeps guessing is told to wait; the right token passes all the same, because behind a
 * proxy one dashboard with an old token must not lock out the others.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;
/** Wrong tokens of one address in a minute; a person mistypes fewer, a guesser gets nowhere. */
const FAILURES_MAX = 10;
const FAILURES_WINDOW_MS = 60_000;
/** Addresses remembered; a flood from more than this forgets the oldest. */
const ADDRESSES_MAX = 10_000;
/** A token that can be guessed is no token. */
const TOKEN_LENGTH_MIN = 16;

export interface Tokens {
  readonly read?: string | undefined;
  readonly operate?: string | undefined;
}

export type Right = 'read' | 'operate';

export interface Guard {
  /** @throws cloud.unauthorized, cloud.forbidden, cloud.too_many_attempts */
  require(right: Right, authorization: string | undefined, address: string): void;
}

/** @throws cloud.token_missing, cloud.token_weak */
export function guard(tokens: Tokens, host: string, clock: Clock): Guard {
  const read = hashOf(tokens.read);
  const operate = hashOf(tokens.operate);
  if (read === undefined && !LOOPBACK.test(host)) {
    throw new SluiceError(
      'cloud.token_missing',
      'stop',
      `without a read token the receiver does not listen on ${host}`,
      {
        hint: 'Give it a token (--token-file), or let it listen on 127.0.0.1.',
      },
    );
  }
  const failures = new Map<string, { count: number; untilMs: number }>();
  const failed = (address: string): number => {
    const known = failures.get(address);
    if (known !== undefined && known.untilMs > clock.monoMs()) {
      return ++known.count;
    }
    const [oldest] = failures.keys();
    if (failures.size >= ADDRESSES_MAX && oldest !== undefined) failures.delete(oldest);
    failures.set(address, { count: 1, untilMs: clock.monoMs() + FAILURES_WINDOW_MS });
    return 1;
  };
  return {
    require(right, authorization, address) {
      if (read === undefined) {
        // On loopback without tokens everyone is the operator, unless there is a token for that.
        if (right === 'read' || operate === undefined) return;
      }
      const token = hashOf(/^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1], 0);
      const isOperator = same(token, operate);
      if (isOperator) return;
      if (!same(token, read)) {
        if (token !== undefined && failed(address) > FAILURES_MAX) {
          throw new SluiceError('cloud.too_many_attempts', 'retry', 'too many wrong tokens from this address', {
            hint: 'Wait a minute.',
          });
        }
        throw new SluiceError('cloud.unauthorized', 'stop', 'a valid token is needed', {
          hint: 'Send the header "Authorization: Bearer <token>".',
        });
      }
      if (right === 'operate') {
        throw new SluiceError('cloud.forbidden', 'stop', 'this token may only read', {
          hint: "Use the operator's token.",
        });
      }
    },
  };
}

function hashOf(token: string | undefined, lengthMin = TOKEN_LENGTH_MIN): Buffer | undefined {
  if (token === undefined) return undefined;
  if (token.length < lengthMin) {
    throw new SluiceError('cloud.token_weak', 'stop', `a token needs at least ${lengthMin} characters`);
  }
  return createHash('sha256').update(token).digest();
}

function same(given: Buffer | undefined, expected: Buffer | undefined): boolean {
  return given !== undefined && expected !== undefined && timingSafeEqual(given, expected);
}
