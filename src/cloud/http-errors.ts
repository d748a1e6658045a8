/** Errors as the HTTP API shows them: a status, and a body `{code, message, hint}` whose code is stable. */
import type { FastifyError, FastifyReply } from 'fastify';
import { isSluiceError } from '../errors.ts';

const STATUS: Readonly<Record<string, number>> = {
  'cloud.unauthorized': 401,
  'cloud.forbidden': 403,
  'cloud.host_unknown': 403,
  'cloud.too_many_attempts': 429,
  'cloud.busy': 503,
  'cloud.body_late': 408,
  'cloud.body_too_large': 413,
  'cloud.body_cut': 400,
  'enrol.malformed': 400,
  'enrol.key_weak': 400,
  'enrol.token_unknown': 403,
  'enrol.mac_invalid': 403,
  'enrol.signature_invalid': 403,
  'enrol.token_expired': 403,
  'enrol.token_used': 403,
  'enrol.device_other': 403,
  'enrol.device_known': 409,
  'enrol.name_taken': 409,
  'enrol.key_known': 409,
  'enrol.no_key_list': 409,
  'enrol.too_many_attempts': 429,
  'cloud.devices_fixed': 409,
  'cloud.devices_invalid': 503,
  'cloud.devices_unwritable': 503,
  'query.invalid': 400,
  'query.not_found': 404,
  'query.too_long': 503,
  'access.name': 400,
  'access.taken': 409,
  'access.too_many': 409,
};
const INTERNAL = { code: 'cloud.internal', message: 'something went wrong here', hint: "It is in the receiver's log." };

/** @returns whether it was our own fault, so that the caller logs it */
export function sendError(reply: FastifyReply, thrown: unknown, retryAfterS: number): boolean {
  const status = isSluiceError(thrown) ? STATUS[thrown.code] : undefined;
  if (isSluiceError(thrown) && status !== undefined) {
    if (status === 429 || status === 503) reply.header('retry-after', retryAfterS);
    if (status === 401) reply.header('www-authenticate', 'Bearer');
    reply.code(status).send({ code: thrown.code, message: thrown.message, hint: thrown.hint ?? null });
    return false;
  }
  const fromFastify = clientError(thrown);
  if (fromFastify !== undefined) {
    reply.code(fromFastify.status).send({ code: 'http.refused', message: fromFastify.message, hint: null });
    return false;
  }
  reply.code(500).send(INTERNAL);
  return true;
}

/** What fastify itself refused: a malformed URL, a wrong content length. */
function clientError(thrown: unknown): { status: number; message: string } | undefined {
  if (!(thrown instanceof Error) || !('statusCode' in thrown)) return undefined;
  // Fastify's own errors have this shape; anything else fails the test of the number.
  const { statusCode, message } = thrown as FastifyError;
  return typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500
    ? { status: statusCode, message }
    : undefined;
}
