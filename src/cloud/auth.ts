/**
 * Who may ask. Tokens are those of the table (access/tokens.ts), and up to two out of files; of all of them only hashes stay in
 * memory. An address that keeps guessing is told to wait; the right token passes all the same, because behind a proxy one
 * dashboard with an old token must not lock out the others.
 *
 * While there is no token at all, the receiver listens on loopback only, and whoever is on this machine may read and close alarms:
 * they could as well look at the files of a trial. What an administrator does (tokens, deletion) takes a token always. Such an open
 * receiver answers only to its own names, so that no web page can reach it through a name of its own.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { type AccessTokens, mayActAs, type Role } from './access/tokens.ts';
import type { Audit } from './audit.ts';

const LOOPBACK = /^(localhost|127(\.\d{1,3}){3}|::1)$/;
const LOOPBACK_AUTHORITY = /^(localhost|127(\.\d{1,3}){3}|\[::1\])(:\d+)?$/i;
/** Wrong tokens of one address in a minute; a person mistypes fewer, a guesser gets nowhere. */
const FAILURES_MAX = 10;
const FAILURES_WINDOW_MS = 60_000;
/** Addresses remembered; a flood from more than this forgets the oldest. */
const ADDRESSES_MAX = 10_000;
/** A token that can be guessed is no token. */
const TOKEN_LENGTH_MIN = 16;

/** Out of files, beside those of the table. */
export interface Tokens {
  readonly read?: string | undefined;
  readonly operate?: string | undefined;
}

export interface Visitor {
  readonly authorization: string | undefined;
  /** The header: what the visitor believes to talk to. */
  readonly host: string | undefined;
  readonly address: string;
}

export interface Caller {
  /** Of the token; `loopback` while there is none. */
  readonly name: string;
  readonly role: Role;
  readonly address: string;
}

export interface Guard {
  /** @throws cloud.unauthorized, cloud.forbidden, cloud.too_many_attempts, cloud.host_unknown */
  require(role: Role, visitor: Visitor): Caller;
}

export interface GuardOptions {
  readonly tokens: Tokens;
  readonly access: AccessTokens;
  readonly audit: Pick<Audit, 'record'>;
  /** Where the receiver listens. */
  readonly host: string;
  readonly clock: Clock;
}

/** @throws cloud.token_missing, cloud.token_weak */
export function guard({ tokens, access, audit, host, clock }: GuardOptions): Guard {
  const fixed = [
    { name: 'operator-token-file', role: 'operator', hash: hashOf(tokens.operate) },
    { name: 'token-file', role: 'reader', hash: hashOf(tokens.read) },
  ] as const;
  const isLoopback = LOOPBACK.test(host);
  const hasTokens = (): boolean => fixed.some(({ hash }) => hash !== undefined) || access.count > 0;
  if (!isLoopback && !hasTokens()) {
    throw new SluiceError('cloud.token_missing', 'stop', `without a token the receiver does not listen on ${host}`, {
      hint: 'Make one (sluice cloud access add), or let it listen on 127.0.0.1.',
    });
  }
  const attempts = new Attempts(clock);
  const identify = (token: string): { name: string; role: Role } | undefined => {
    const hash = createHash('sha256').update(token).digest();
    const known = fixed.find((entry) => entry.hash !== undefined && timingSafeEqual(hash, entry.hash));
    return known ?? access.check(token);
  };
  return {
    require(role, { authorization, host: asked, address }) {
      const token = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
      const caller = token === undefined ? undefined : identify(token);
      const refuse = (error: SluiceError): SluiceError => {
        audit.record({
          who: caller?.name ?? 'nobody',
          address,
          action: 'login.refused',
          object: role,
          outcome: 'refused',
        });
        return error;
      };
      if (caller !== undefined) {
        if (mayActAs(caller.role, role)) return { name: caller.name, role: caller.role, address };
        throw refuse(forbidden(caller.role, role));
      }
      if (token === undefined && isLoopback && role !== 'admin' && !hasTokens()) {
        if (!LOOPBACK_AUTHORITY.test(asked ?? '')) throw refuse(hostUnknown());
        return { name: 'loopback', role: 'operator', address };
      }
      if (token !== undefined && attempts.failed(address) > FAILURES_MAX) throw refuse(tooMany());
      throw token === undefined ? unauthorized() : refuse(unauthorized());
    },
  };
}

/** Wrong tokens by address. */
class Attempts {
  readonly #clock: Clock;
  readonly #failures = new Map<string, { count: number; untilMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @returns how many in the last minute */
  failed(address: string): number {
    const nowMs = this.#clock.monoMs();
    const known = this.#failures.get(address);
    if (known !== undefined && known.untilMs > nowMs) return ++known.count;
    const [oldest] = this.#failures.keys();
    if (this.#failures.size >= ADDRESSES_MAX && oldest !== undefined) this.#failures.delete(oldest);
    this.#failures.set(address, { count: 1, untilMs: nowMs + FAILURES_WINDOW_MS });
    return 1;
  }
}

function unauthorized(): SluiceError {
  return new SluiceError('cloud.unauthorized', 'stop', 'a valid token is needed', {
    hint: 'Send the header "Authorization: Bearer <token>".',
  });
}

function forbidden(has: Role, needed: Role): SluiceError {
  return new SluiceError('cloud.forbidden', 'stop', `this is the token of a ${has}; it takes one of role ${needed}`, {
    hint: 'sluice cloud access add makes one.',
  });
}

function tooMany(): SluiceError {
  return new SluiceError('cloud.too_many_attempts', 'retry', 'too many wrong tokens from this address', {
    hint: 'Wait a minute.',
  });
}

function hostUnknown(): SluiceError {
  return new SluiceError('cloud.host_unknown', 'stop', 'without a token this is answered on loopback names only', {
    hint: 'Ask http://127.0.0.1 or localhost, or make a token (sluice cloud access add).',
  });
}

function hashOf(token: string | undefined): Buffer | undefined {
  if (token === undefined) return undefined;
  if (token.length < TOKEN_LENGTH_MIN) {
    throw new SluiceError('cloud.token_weak', 'stop', `a token needs at least ${TOKEN_LENGTH_MIN} characters`);
  }
  return createHash('sha256').update(token).digest();
}
