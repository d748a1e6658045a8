/**
 * The body of a request, as bytes: capped, hashed while it comes, and over after a deadline however slowly it trickles.
 * What is over the cap is hashed on without being kept, up to four times the cap, so that even "too large" can be signed.
 */
import { createHash } from 'node:crypto';
import type { Readable } from 'node:stream';
import { SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { DEVICE_BYTES } from '../wire/keys.ts';

/** So far beyond the cap a body is still hashed. */
export const HASHED_FACTOR = 4;
/** The answer refers to SHA512(envelope)[0..32]. */
const DIGEST_BYTES = 32;

export interface Body {
  /** Undefined when it was too large. */
  readonly bytes: Uint8Array | undefined;
  readonly length: number;
  /** Of all of it. */
  readonly digest: Uint8Array;
  /** Who it says it is from; undefined when it is too short to say. */
  readonly device: Uint8Array | undefined;
}

export interface BodyLimits {
  readonly bytesMax: number;
  /** Where the message says whose it is. */
  readonly deviceAt: number;
  readonly deadlineMs: number;
  /** Whether so many more bytes may be kept in memory, over all requests. */
  readonly keep: (bytes: number) => boolean;
}

/** @throws cloud.body_too_large past four times the cap, cloud.body_late, cloud.body_cut, cloud.busy when memory is full */
export function readBody(stream: Readable, clock: Clock, limits: BodyLimits): Promise<Body> {
  const { bytesMax, deadlineMs, deviceAt, keep } = limits;
  return new Promise((resolve, reject) => {
    const hash = createHash('sha512');
    let chunks: Uint8Array[] = [];
    const head = Buffer.alloc(deviceAt + DEVICE_BYTES);
    let length = 0;
    const finish = (error: SluiceError | undefined): void => {
      timer.cancel();
      stream.off('data', onData).off('end', onEnd).off('error', onCut).off('close', onCut);
      if (error) {
        reject(error);
        return;
      }
      resolve({
        bytes: length > bytesMax ? undefined : Buffer.concat(chunks, length),
        length,
        digest: new Uint8Array(hash.digest().subarray(0, DIGEST_BYTES)),
        device: length < head.length ? undefined : new Uint8Array(head.subarray(deviceAt)),
      });
    };
    const onData = (chunk: Uint8Array): void => {
      if (length < head.length) head.set(chunk.subarray(0, head.length - length), length);
      length += chunk.length;
      hash.update(chunk);
      if (length > bytesMax * HASHED_FACTOR) finish(tooLarge(bytesMax));
      else if (length > bytesMax) chunks = [];
      else if (keep(chunk.length)) chunks.push(chunk);
      else finish(new SluiceError('cloud.busy', 'retry', 'too much is being received at once'));
    };
    const onEnd = (): void => finish(undefined);
    const onCut = (cause?: unknown): void => {
      finish(new SluiceError('cloud.body_cut', 'retry', 'the connection ended before the body did', { cause }));
    };
    const timer = clock.after(deadlineMs, () =>
      finish(new SluiceError('cloud.body_late', 'retry', `the body took longer than ${deadlineMs} ms`)),
    );
    stream.on('data', onData).on('end', onEnd).on('error', onCut).on('close', onCut);
  });
}

export function tooLarge(bytesMax: number): SluiceError {
  return new SluiceError('cloud.body_too_large', 'discard', `a body of more than ${HASHED_FACTOR} × ${bytesMax} bytes`);
}
