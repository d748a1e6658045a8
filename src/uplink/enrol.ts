/** Asks a cloud for a place in its device list, with a one-time token. */
import { randomBytes } from 'node:crypto';
import type { UplinkConfig } from '../config/uplink.ts';
import { codeOf, SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { decodeUtf8 } from '../wire/bytes.ts';
import {
  ENROL_ANSWER_BYTES_MAX,
  ENROL_ANSWER_CONTENT_TYPE,
  ENROL_CONTENT_TYPE,
  ENROL_NONCE_BYTES,
  type EnrolAnswer,
  type EnrolToken,
  signEnrolment,
  verifyEnrolAnswer,
} from '../wire/enrol.ts';
import { parseJson } from '../wire/json.ts';
import type { DeviceKey } from '../wire/keys.ts';
import { connectHttp, type Reply } from './connection.ts';
import { connectionOptions } from './send.ts';
import { isTlsFailure, tlsHint } from './tls.ts';

/** Of a refusal, as it is shown: it may be anybody's. */
const REASON_LENGTH_MAX = 500;

/**
 * @throws enrol.unreachable; enrol.refused with what was said, which nobody signed; enrol.answer_… and keylist.… for an answer that is
 *   not of this token's cloud: then nothing of it may be used. The same key may try again with the same token.
 */
export async function enrolAt(
  config: UplinkConfig,
  token: EnrolToken,
  key: DeviceKey,
  clock: Clock,
): Promise<EnrolAnswer> {
  const { base, ...shared } = connectionOptions(config, clock);
  const connection = connectHttp({ ...shared, connections: 1 });
  const nonce = new Uint8Array(randomBytes(ENROL_NONCE_BYTES));
  const message = {
    path: `${base}/v1/enrol`,
    contentType: ENROL_CONTENT_TYPE,
    accept: ENROL_ANSWER_CONTENT_TYPE,
    body: signEnrolment(token, key, nonce),
    answerBytesMax: ENROL_ANSWER_BYTES_MAX,
  };
  try {
    const reply = await connection.post(message, new AbortController().signal);
    if (reply.status !== 200) throw refusal(reply);
    return verifyEnrolAnswer(new Uint8Array(reply.body), token, { device: key.device, nonce });
  } catch (cause) {
    if (/^(enrol|keylist|key)\./.test(codeOf(cause))) throw cause;
    const hint = isTlsFailure(cause) ? tlsHint(cause) : 'Try again: the same key may use the token again.';
    throw new SluiceError('enrol.unreachable', 'retry', `no answer from ${config.url}`, { hint, cause });
  } finally {
    await connection.close();
  }
}

function refusal({ status, body }: Reply): SluiceError {
  const { code, message, hint } = saidIn(body);
  const said = code === undefined ? `HTTP ${status}` : `${code}: ${message ?? ''}`;
  return new SluiceError('enrol.refused', 'discard', `not enrolled: ${said}`, {
    hint: hint ?? 'Look at the log of the receiver; is this its address?',
  });
}

/** The receiver says `{code, message, hint}`; a proxy says what it likes. */
function saidIn(body: Uint8Array): { code?: string; message?: string; hint?: string } {
  try {
    const said = parseJson(decodeUtf8(body), { bytesMax: ENROL_ANSWER_BYTES_MAX, depthMax: 4 });
    const fields = Object.entries(typeof said === 'object' && said !== null ? said : {});
    return Object.fromEntries(
      fields.flatMap(([name, text]) => (typeof text === 'string' ? [[name, printable(text)]] : [])),
    );
  } catch {
    return {};
  }
}

/** It goes to a terminal. */
function printable(text: string): string {
  return text.slice(0, REASON_LENGTH_MAX).replaceAll(/\p{Cc}/gu, ' ');
}
