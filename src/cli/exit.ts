import { codeOf } from '../errors.ts';

/** What every command's exit code means, so that scripts can branch on it. */
export const Exit = {
  fine: 0,
  /** The command worked and found something: an oracle that does not hold, a ledger that does not add up. */
  finding: 1,
  /** Wrong words on the command line, or a configuration with findings. */
  usage: 2,
} as const;
export type ExitCode = (typeof Exit)[keyof typeof Exit];

/** What the caller has to give differently. */
const USAGE =
  /^(config|usage|credential|key|keylist|access)\.|^cache\.key|^cloud\.(devices_invalid|key_list_mismatch|token_missing|token_weak|tls_unusable)$/;

/** Of a command that ended with this error. */
export function exitOf(error: unknown): ExitCode {
  return USAGE.test(codeOf(error)) ? Exit.usage : Exit.finding;
}
