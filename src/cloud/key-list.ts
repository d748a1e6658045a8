/** The signed list of this cloud's keys: served to gateways, and never one that speaks of other keys than the cloud has. */
import { SluiceError } from '../errors.ts';
import { hex } from '../wire/bytes.ts';
import { openKeyList } from '../wire/keylist.ts';
import { type CloudKey, type CloudPublic, toPublic } from '../wire/keys.ts';

/**
 * With another list a cloud would be obeyed by nobody: gateways would seal to keys it does not have, or not believe its answers.
 * @returns the root's public key
 * @throws cloud.key_list_mismatch; keylist.malformed, keylist.signature_invalid, key.weak
 */
export function requireOwnKeyList(list: Uint8Array, keys: CloudKey): Uint8Array {
  const { keys: listed, root } = openKeyList(list);
  const own = toPublic(keys);
  if (listed.version !== own.version) {
    throw mismatch(`the key list has version ${listed.version}, the keys have version ${own.version}`);
  }
  if (namesOf(listed) !== namesOf(own)) throw mismatch('the key list names other keys than these');
  return root;
}

function namesOf({ recipient, answer }: CloudPublic): string {
  return [recipient, ...answer].map(({ publicKey }) => hex(publicKey)).join(' ');
}

function mismatch(message: string): SluiceError {
  return new SluiceError('cloud.key_list_mismatch', 'stop', message, {
    hint: 'Sign the public half of these keys: sluice cloud keys --root root.key --cloud cloud.pub --out cloud.list',
  });
}
