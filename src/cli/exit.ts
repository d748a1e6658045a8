/** What every command's exit code means, so that scripts can branch on it. */
export const Exit = {
  fine: 0,
  /** The command worked and found something: an oracle that does not hold, a ledger that does not add up. */
  finding: 1,
  /** Wrong words on the command line, or a configuration with findings. */
  usage: 2,
} as const;
export type ExitCode = (typeof Exit)[keyof typeof Exit];
