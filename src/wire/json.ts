/** JSON from outside: size and depth are checked before the parser sees it, because a parser's stack is not bounded. */
import { SluiceError } from '../errors.ts';

export interface JsonLimits {
  /** Of the UTF-8 text. */
  readonly bytesMax: number;
  /** Objects and arrays within each other; 1 allows no nesting. */
  readonly depthMax: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** @throws wire.json_too_large, wire.json_too_deep, wire.json_malformed */
export function parseJson(text: string, { bytesMax, depthMax }: JsonLimits): unknown {
  // UTF-8 is never shorter than the number of UTF-16 units, so this can be asked first, cheaply.
  if (text.length > bytesMax || Buffer.byteLength(text) > bytesMax) {
    throw new SluiceError('wire.json_too_large', 'discard', `JSON of more than ${bytesMax} bytes`);
  }
  if (depthOf(text) > depthMax) {
    throw new SluiceError('wire.json_too_deep', 'discard', `JSON nested more than ${depthMax} deep`);
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new SluiceError('wire.json_malformed', 'discard', 'not JSON', { cause });
  }
}

/** Brackets outside strings; for text that is no JSON the parser says so afterwards. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (inString) {
      if (unit === BACKSLASH) i++;
      else if (unit === QUOTE) inString = false;
    } else if (unit === QUOTE) {
      inString = true;
    } else if (unit === 0x7b || unit === 0x5b) {
      depth++;
      if (depth > deepest) deepest = depth;
    } else if (unit === 0x7d || unit === 0x5d) {
      depth--;
    }
  }
  return deepest;
}
