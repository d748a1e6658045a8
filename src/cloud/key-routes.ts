/** Keys over HTTP: the signed list of the cloud's (`GET /v1/keys`), a place for a device's first (`enrol`) or next one (`device-key`). */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Logger } from 'pino';
import { codeOf, describe, SluiceError } from '../errors.ts';
import type { Clock } from '../runtime/clock.ts';
import { ANSWER_CODES, ANSWER_CONTENT_TYPE, type AnswerName, answerCode, signAnswer } from '../wire/answer.ts';
import { hex } from '../wire/bytes.ts';
import { ENROL_ANSWER_CONTENT_TYPE, ENROL_BYTES } from '../wire/enrol.ts';
import { envelopeDigest } from '../wire/envelope.ts';
import { KEY_CHANGE_BYTES, openKeyChange } from '../wire/key-change.ts';
import { KEY_LIST_CONTENT_TYPE } from '../wire/keylist.ts';
import { type CloudKey, DEVICE_BYTES } from '../wire/keys.ts';
import type { Audit } from './audit.ts';
import type { DeviceBook } from './device-book.ts';
import type { EnrolDesk } from './enrol-desk.ts';
import { RefusalLog } from './refusal-log.ts';

export interface KeyRoutesOptions {
  readonly keys: CloudKey;
  readonly keyList: Uint8Array | undefined;
  readonly book: DeviceBook;
  readonly enrol: EnrolDesk;
  readonly audit: Pick<Audit, 'record'>;
  readonly incarnation: Uint8Array;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Both messages have one length; what is longer is none of them. */
const BODY_BYTES_MAX = Math.max(ENROL_BYTES, KEY_CHANGE_BYTES);
const DEVICE_AT = 4;

const REFUSALS: Readonly<Record<string, AnswerName>> = {
  'keychange.malformed': 'key_change_malformed',
  'keychange.signature_invalid': 'key_change_signature_invalid',
  'keychange.key_weak': 'key_weak',
  'keychange.key_known': 'key_known',
  'keychange.signer_unknown': 'signer_unknown',
  'keychange.signer_revoked': 'signer_revoked',
  'keychange.device_foreign': 'device_foreign',
};

export class KeyRoutes {
  readonly #options: KeyRoutesOptions;
  readonly #log: RefusalLog;

  constructor(options: KeyRoutesOptions) {
    this.#options = options;
    this.#log = new RefusalLog(options.logger, options.clock);
  }

  register(app: FastifyInstance): void {
    const { keyList, enrol } = this.#options;
    app.get('/v1/keys', (_request, reply) => {
      if (keyList === undefined) {
        throw new SluiceError('query.not_found', 'discard', 'this cloud has no signed key list');
      }
      return reply.type(KEY_LIST_CONTENT_TYPE).header('cache-control', 'no-cache').send(Buffer.from(keyList));
    });
    // In a scope of its own: bodies are bytes, whatever their type says.
    app.register(async (scope) => {
      scope.removeAllContentTypeParsers();
      scope.addContentTypeParser(
        '*',
        { parseAs: 'buffer', bodyLimit: BODY_BYTES_MAX },
        (_request: FastifyRequest, body: Buffer, done) => done(null, new Uint8Array(body)),
      );
      scope.post('/v1/enrol', (request, reply) => {
        const answer = enrol.answer(bytesOf(request), request.ip);
        return reply.type(ENROL_ANSWER_CONTENT_TYPE).send(Buffer.from(answer));
      });
      scope.post('/v1/device-key', (request, reply) => this.#changeKey(request, reply));
    });
  }

  #changeKey(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const { book, audit, logger } = this.#options;
    const body = bytesOf(request);
    if (body.length < DEVICE_AT + DEVICE_BYTES) {
      throw new SluiceError('query.invalid', 'discard', `${body.length} bytes are no change of keys`);
    }
    const device = body.slice(DEVICE_AT, DEVICE_AT + DEVICE_BYTES);
    try {
      let old = new Uint8Array();
      const change = openKeyChange(body, (kid, claimed) => {
        const signer = book.devices.signer(kid, claimed);
        if (signer === 'revoked') throw refused('signer_revoked', 'signed by a revoked key');
        if (signer === 'foreign') throw refused('device_foreign', 'signed by the key of another device');
        old = new Uint8Array(signer ?? []);
        return signer;
      });
      book.replaceKey(hex(device), hex(old), hex(change.publicKey), request.ip);
      return this.#sign(reply, body, device, 'ok');
    } catch (thrown) {
      const name = REFUSALS[codeOf(thrown)] ?? 'internal';
      const refusal = { who: 'nobody', address: request.ip, action: 'device.key_change', object: hex(device) };
      audit.record({ ...refusal, outcome: 'refused', details: { code: name } });
      const facts = { device: hex(device), reason: describe(thrown) };
      if (name === 'internal') logger.error(facts, 'change of a device key failed');
      else this.#log.refused(name, { kind: 'device key', ...facts });
      return this.#sign(reply, body, device, name);
    }
  }

  #sign(reply: FastifyReply, body: Uint8Array, device: Uint8Array, name: AnswerName): FastifyReply {
    const { keys, incarnation } = this.#options;
    const code = ANSWER_CODES[name];
    const answer = { code, rows: 0, duplicates: 0, incarnation };
    const signed = signAnswer(answer, device, envelopeDigest(body), keys.answer);
    return reply
      .code(answerCode(code)?.http ?? 500)
      .type(ANSWER_CONTENT_TYPE)
      .send(Buffer.from(signed));
  }
}

function bytesOf({ body }: FastifyRequest): Uint8Array {
  return body instanceof Uint8Array ? body : new Uint8Array();
}

function refused(name: string, message: string): SluiceError {
  return new SluiceError(`keychange.${name}`, 'discard', message);
}
