/** Brings the cloud a new key of this device, signed by the old one and by itself. */
import type { UplinkConfig } from '../config/uplink.ts';
import { describe, SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { ANSWER_CONTENT_TYPE, answerCode, answerKid, verifyAnswer } from '../wire/answer.ts';
import { envelopeDigest } from '../wire/envelope.ts';
import { KEY_CHANGE_CONTENT_TYPE, signKeyChange } from '../wire/key-change.ts';
import type { DeviceKey } from '../wire/keys.ts';
import { hintOf } from './answers.ts';
import { CloudKeys } from './cloud-keys.ts';
import { connectHttp } from './connection.ts';
import type { UplinkKeys } from './keyfiles.ts';
import { connectionOptions } from './send.ts';
import type { UplinkLogger } from './types.ts';

const ANSWER_BYTES_MAX = 4096;

/**
 * Returns when the cloud has signed that it takes the new key beside the old one. Doing it again is harmless.
 * @throws keychange.refused with the cloud's code; keychange.unanswered: nobody said yes, the old key goes on
 */
export async function bringNewKey(
  config: UplinkConfig,
  keys: UplinkKeys,
  next: DeviceKey,
  { clock, logger }: { readonly clock: Clock; readonly logger: UplinkLogger },
): Promise<void> {
  const { base, ...shared } = connectionOptions(config, clock);
  const link = connectHttp({ ...shared, connections: 1 });
  const { signal } = new AbortController();
  const { cloudKeys, keyList: place } = keys;
  const cloud = new CloudKeys({
    ...{ keys: cloudKeys, place, link, path: `${base}/v1/keys`, clock, logger },
    onChange: () => {},
  });
  const body = signKeyChange(keys.device, next);
  try {
    const reply = await link.post(
      {
        path: `${base}/v1/device-key`,
        contentType: KEY_CHANGE_CONTENT_TYPE,
        accept: ANSWER_CONTENT_TYPE,
        body,
        answerBytesMax: ANSWER_BYTES_MAX,
      },
      signal,
    );
    const kid = answerKid(reply.body);
    if (kid !== undefined && !cloud.knows(kid)) await cloud.newerThan(cloud.version, signal);
    requireYes(verifyAnswer(reply.body, keys.device.device, envelopeDigest(body), cloud).code);
  } catch (cause) {
    if (cause instanceof SluiceError && cause.code === 'keychange.refused') throw cause;
    throw new SluiceError('keychange.unanswered', 'retry', `no signed answer from ${config.url}: ${describe(cause)}`, {
      hint: 'Nothing has changed: the old key goes on. Do it again when the cloud can be reached.',
      cause,
    });
  } finally {
    await link.close();
  }
}

function requireYes(code: number): void {
  const name = answerCode(code)?.name ?? String(code);
  if (name === 'ok') return;
  throw new SluiceError('keychange.refused', 'stop', `the cloud refuses the new key: ${name}`, {
    hint: hintOf(name) ?? 'The old key goes on; the log of the receiver names the reason.',
  });
}
