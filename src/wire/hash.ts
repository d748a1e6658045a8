/** SHA-512 under a label: no hash made for one purpose can stand for another. */
import { createHash } from 'node:crypto';

export type Label = 'SLC1-tag\0' | 'SLC1-kid\0' | 'SLC1-key\0' | 'SLC1-dict\0' | 'SLC1-tok\0';

export function sha512(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha512');
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** The first `length` bytes of SHA512(label ‖ parts…). */
export function labelled(label: Label, length: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('sha512').update(label, 'latin1');
  for (const part of parts) hash.update(part);
  return new Uint8Array(hash.digest().subarray(0, length));
}
