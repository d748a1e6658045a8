/** JSON from outside: parsed only when it is UTF-8, shallow enough, and without names that reach into prototypes. */
import { isUtf8 } from 'node:buffer';
import { Refusal } from './value.ts';

/** Deeper than any sensor speaks; the parser would take far more, code that walks the result would not. */
export const JSON_DEPTH_MAX = 32;

const [QUOTE, BACKSLASH, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x22, 0x5c, 0x5b, 0x5d, 0x7b, 0x7d];

export function parseJson(payload: Buffer): unknown | Refusal {
  if (!isUtf8(payload)) return new Refusal('not UTF-8');
  // A depth needs as many bytes: most messages are too short to be too deep.
  if (payload.length > JSON_DEPTH_MAX && depthOf(payload) > JSON_DEPTH_MAX) {
    return new Refusal(`JSON nested deeper than ${JSON_DEPTH_MAX}`);
  }
  const text = payload.toString('utf8');
  if (text.includes('"__proto__"')) return new Refusal('JSON with a key __proto__');
  try {
    return JSON.parse(text);
  } catch {
    return new Refusal('not JSON');
  }
}

function depthOf(payload: Uint8Array): number {
  let depth = 0;
  let deepest = 0;
  let quoted = false;
  for (let at = 0; at < payload.length; at++) {
    const byte = payload[at];
    if (quoted) {
      if (byte === BACKSLASH) at++;
      else if (byte === QUOTE) quoted = false;
    } else if (byte === QUOTE) quoted = true;
    else if (byte === OPEN_LIST || byte === OPEN_OBJECT) deepest = Math.max(deepest, ++depth);
    else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--;
  }
  return deepest;
}
