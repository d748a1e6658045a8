import { asError, describe, isSluiceError } from '../errors.ts';
import type { Logger } from '../runtime/log.ts';

/** The last line of a process that cannot go on. What is ours names itself; a stack is for what nobody expected. */
export function logFatal(logger: Logger, error: unknown, what: string): void {
  const text = `${what}: ${describe(error)}`;
  if (!isSluiceError(error)) {
    logger.fatal({ err: asError(error) }, text);
    return;
  }
  const { code, hint, facts } = error;
  logger.fatal({ code, ...facts, ...(hint === undefined ? {} : { hint }) }, text);
}
