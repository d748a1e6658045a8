/**
 * A new key for a device: signed by the new one, which proves that the box has it, and by the old one, which proves that it is the
 * same box. The cloud takes both until the new one is first used, and from then on only that.
 *
 *     "SLR1" | device 16 | old kid 8 | new public key 32 | signature by the new key 64 | signature by the old key 64
 *
 * Ed25519("SLC1-rop\0" ‖ SHA512(all before)) by the new key, "SLC1-rot\0" by the old one. The answer is that to a batch (`answer.ts`).
 */
import { SluiceError } from '../errors.ts';
import { ByteReader, ByteWriter, concat } from './bytes.ts';
import { SIGNATURE_BYTES, signMessage, verifyMessage } from './crypto.ts';
import { KEY_BYTES, refuseWeakEd25519 } from './curve.ts';
import { sha512 } from './hash.ts';
import { DEVICE_BYTES, type DeviceKey, KID_BYTES } from './keys.ts';

export const KEY_CHANGE_CONTENT_TYPE = 'application/vnd.sluice.key-change';
const MAGIC = 0x534c_5231;
export const KEY_CHANGE_BYTES = 4 + DEVICE_BYTES + KID_BYTES + KEY_BYTES + 2 * SIGNATURE_BYTES;

export interface KeyChange {
  readonly device: Uint8Array;
  readonly oldKid: Uint8Array;
  readonly publicKey: Uint8Array;
}

export function signKeyChange(old: DeviceKey, next: DeviceKey): Uint8Array {
  const message = new ByteWriter(KEY_CHANGE_BYTES)
    .u32(MAGIC)
    .bytes(old.device)
    .bytes(old.kid)
    .bytes(next.publicKey)
    .take();
  const possessed = concat(message, signMessage('SLC1-rop\0', sha512(message), next.secretKey));
  return concat(possessed, signMessage('SLC1-rot\0', sha512(possessed), old.secretKey));
}

/**
 * In this order: form, the old key known, not revoked and of this device (`signer` says so), its signature, the new key neither weak
 * nor non-canonical, its signature.
 * @throws keychange.malformed, keychange.signer_unknown, keychange.signature_invalid, keychange.key_weak; and what `signer` throws
 */
export function openKeyChange(
  body: Uint8Array,
  signer: (kid: Uint8Array, device: Uint8Array) => Uint8Array | undefined,
): KeyChange {
  if (body.length !== KEY_CHANGE_BYTES) throw refused('malformed', `${body.length} bytes are no change of keys`);
  const reader = new ByteReader(body);
  if (reader.u32() !== MAGIC) throw refused('malformed', 'not a change of keys of ours');
  const device = reader.bytes(DEVICE_BYTES).slice();
  const oldKid = reader.bytes(KID_BYTES).slice();
  const publicKey = reader.bytes(KEY_BYTES).slice();
  const message = body.subarray(0, reader.offset);
  const byNew = reader.bytes(SIGNATURE_BYTES);
  const possessed = body.subarray(0, reader.offset);
  const byOld = reader.bytes(SIGNATURE_BYTES);
  const old = signer(oldKid, device);
  if (old === undefined) throw refused('signer_unknown', 'signed by a key that is not enrolled');
  if (!verifyMessage('SLC1-rot\0', sha512(possessed), byOld, old)) {
    throw refused('signature_invalid', 'the signature of the old key does not match');
  }
  try {
    refuseWeakEd25519(publicKey);
  } catch (cause) {
    throw refused('key_weak', 'a new key that protects nothing', cause);
  }
  if (!verifyMessage('SLC1-rop\0', sha512(message), byNew, publicKey)) {
    throw refused('signature_invalid', 'the signature of the new key does not match');
  }
  return { device, oldKid, publicKey };
}

function refused(name: string, message: string, cause?: unknown): SluiceError {
  return new SluiceError(`keychange.${name}`, 'discard', message, { cause });
}
