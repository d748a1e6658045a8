/** The keys of `cache.encryptAtRest`: from files that only their owner can read, or from credentials. */
import { randomBytes } from 'node:crypto';
import type { CacheConfig } from '../config/cache.ts';
import { asError, SluiceError } from '../errors.ts';
import { readSecretFile } from '../runtime/credentials.ts';
import { hex } from '../wire/bytes.ts';
import { type AtRestKeys, KEY_BYTES, NO_KEYS } from './at-rest.ts';

const KIND = 'sluice-cache-key';
const HEX = /^[0-9a-fA-F]{64}$/;
const BASE64 = /^[A-Za-z0-9+/]{43}=$/;

/** A new key as text, for a file of mode 0600. */
export function makeAtRestKey(): string {
  return `${JSON.stringify({ kind: KIND, v: 1, secret: hex(randomBytes(KEY_BYTES)) }, null, 2)}\n`;
}

/** @param text as `sluice keygen --cache` writes it, or the 32 bytes in hex or base64. @throws cache.key (stop); never shows what it read. */
export function parseAtRestKey(text: string): Uint8Array {
  const trimmed = text.trim();
  if (HEX.test(trimmed)) return new Uint8Array(Buffer.from(trimmed, 'hex'));
  if (BASE64.test(trimmed)) return new Uint8Array(Buffer.from(trimmed, 'base64'));
  const secret = secretIn(trimmed);
  if (secret !== undefined && HEX.test(secret)) return new Uint8Array(Buffer.from(secret, 'hex'));
  throw new SluiceError('cache.key', 'stop', 'no key for a cache', { hint: 'make one with sluice keygen --cache' });
}

function secretIn(text: string): string | undefined {
  try {
    const fields = JSON.parse(text) as Record<string, unknown> | null; // looked at below
    const { kind, v, secret } = fields ?? {};
    return kind === KIND && v === 1 && typeof secret === 'string' ? secret : undefined;
  } catch {
    return undefined;
  }
}

/** @param given a path, or the key's own text, as `${credential:…}` leaves it. */
function readKey(given: string, where: string): Uint8Array {
  const isText = /^\s*\{/.test(given) || HEX.test(given.trim()) || BASE64.test(given.trim());
  const text = isText ? given : readSecretFile(given);
  try {
    return parseAtRestKey(text);
  } catch (cause) {
    const hint = asError(cause) instanceof SluiceError ? (cause as SluiceError).hint : undefined; // said by instanceof
    throw new SluiceError('cache.key', 'stop', `${isText ? where : given} holds no key that can be used`, {
      cause,
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

/** One key file for looking. @throws credential.exposed, credential.unreadable, cache.key (stop) */
export function readAtRestKeyFile(file: string): AtRestKeys {
  return { current: undefined, previous: [readKey(file, file)] };
}

/** @throws credential.exposed, credential.unreadable, cache.key (stop) */
export function readAtRestKeys(setting: CacheConfig['encryptAtRest']): AtRestKeys {
  if (setting === undefined) return NO_KEYS;
  return {
    current: setting.key === undefined ? undefined : readKey(setting.key, 'cache.encryptAtRest.key'),
    previous: setting.previous.map((key, at) => readKey(key, `cache.encryptAtRest.previous[${at}]`)),
  };
}

/** What `readAtRestKeys` would stop at, with the place in the configuration. */
export function atRestKeyFaults(
  setting: CacheConfig['encryptAtRest'],
): { path: (string | number)[]; error: unknown }[] {
  const named = [
    ...(setting?.key === undefined ? [] : [{ path: ['key'], given: setting.key }]),
    ...(setting?.previous ?? []).map((given, at) => ({ path: ['previous', at], given })),
  ];
  return named.flatMap(({ path, given }) => {
    try {
      readKey(given, path.join('.'));
      return [];
    } catch (error) {
      return [{ path, error }];
    }
  });
}
