/**
 * Compression of payloads. Opening is the dangerous side: the output is capped before the first byte, must have exactly
 * the length that was announced, and nothing may follow the compressed stream.
 */
import { brotliCompressSync, brotliDecompressSync, constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { SluiceError } from '../errors.ts';

/** 0 stored, 1 brotli, 2 raw deflate (level 6). */
export type Codec = 0 | 1 | 2;
export const CODEC = { stored: 0, brotli: 1, deflate: 2 } as const satisfies Record<string, Codec>;

/** Quality 4 is where brotli's size for its time is best on columns; 5 takes three times as long for 3 %. */
export const BROTLI_QUALITY_DEFAULT = 4;
/**
 * For a backlog that fills the disk: 8 % smaller than 4 for 1.4 µs a reading, measured on the plant trace in batches of
 * 100,000. Between the two nothing is worth its time (6 is larger than 4 where every tag has its own times), 11 is no
 * smaller. Deflate has nothing to offer: level 9 saves 1 % for eight times the time.
 */
export const BROTLI_QUALITY_STRONG = 10;
const DEFLATE_LEVEL_DEFAULT = 6;
/** Largest plain text of one envelope; limits of callers are this or less. */
export const PLAIN_BYTES_MAX = 32 * 1024 * 1024;

export function isCodec(value: number): value is Codec {
  return value === 0 || value === 1 || value === 2;
}

/** @param quality brotli 0–11 (default 4) or deflate 0–9 (default 6). */
export function compress(plain: Uint8Array, codec: Codec, quality?: number): Uint8Array {
  switch (codec) {
    case CODEC.stored:
      return plain;
    case CODEC.brotli:
      return brotliCompressSync(plain, {
        params: {
          [constants.BROTLI_PARAM_QUALITY]: quality ?? BROTLI_QUALITY_DEFAULT,
          [constants.BROTLI_PARAM_SIZE_HINT]: plain.length,
          [constants.BROTLI_PARAM_LGWIN]: windowBits(plain.length),
        },
      });
    case CODEC.deflate:
      return deflateRawSync(plain, { level: quality ?? DEFLATE_LEVEL_DEFAULT });
  }
}

/** The smallest window that reaches back over all of it: the default, 4 MB, is allocated at both ends whatever is compressed. */
function windowBits(bytes: number): number {
  // A window of 2^bits less 16 bytes (RFC 7932, section 9.1).
  const bits = Math.ceil(Math.log2(bytes + 16));
  return Math.min(constants.BROTLI_DEFAULT_WINDOW, Math.max(constants.BROTLI_MIN_WINDOW_BITS, bits));
}

/**
 * Exactly `plainLen` bytes, at most `plainBytesMax`; checked before anything is inflated.
 * @throws compress.too_large (plainLen over the cap), compress.damaged (does not inflate), compress.length_wrong (inflates to
 *   more or less), compress.trailing_bytes
 */
export function decompress(
  bytes: Uint8Array,
  codec: Codec,
  plainLen: number,
  plainBytesMax = PLAIN_BYTES_MAX,
): Uint8Array {
  if (plainLen > plainBytesMax) {
    throw new SluiceError('compress.too_large', 'discard', `${plainLen} bytes announced, ${plainBytesMax} allowed`);
  }
  if (codec === CODEC.stored) {
    if (bytes.length !== plainLen) throw wrongLength(bytes.length, plainLen);
    return bytes;
  }
  const { buffer, consumed } = inflate(bytes, codec, plainLen);
  if (buffer.length !== plainLen) throw wrongLength(buffer.length, plainLen);
  if (consumed !== bytes.length) {
    throw new SluiceError('compress.trailing_bytes', 'discard', `${bytes.length - consumed} bytes follow the stream`);
  }
  return buffer;
}

/**
 * node:zlib for both: it has a hard cap and says how much it consumed. zlib-sync's Inflate never frees its zlib state
 * (39 kB each, measured on 0.1.10), which one context a connection can bear and one a batch cannot.
 */
function inflate(bytes: Uint8Array, codec: 1 | 2, plainLen: number): { buffer: Uint8Array; consumed: number } {
  // At least one byte, which zlib demands of a cap; the exact length is compared afterwards.
  const options = { maxOutputLength: Math.max(1, plainLen), info: true };
  try {
    // With `info` zlib returns the engine too, which its types do not say.
    const result: unknown =
      codec === CODEC.brotli ? brotliDecompressSync(bytes, options) : inflateRawSync(bytes, options);
    const { buffer, engine } = result as { buffer: Uint8Array; engine: { bytesWritten: number } };
    return { buffer, consumed: engine.bytesWritten };
  } catch (cause) {
    if ((cause as { code?: unknown }).code === 'ERR_BUFFER_TOO_LARGE') throw wrongLength(`over ${plainLen}`, plainLen);
    throw new SluiceError('compress.damaged', 'discard', 'does not inflate', { cause });
  }
}

function wrongLength(actual: number | string, plainLen: number): SluiceError {
  return new SluiceError('compress.length_wrong', 'discard', `inflates to ${actual} bytes, ${plainLen} announced`);
}
