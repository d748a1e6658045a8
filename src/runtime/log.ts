/**
 * The log: one JSON object a line, pretty on a terminal. No secret reaches it: values known as secret, and strings under a
 * telling name, are replaced in the finished line, wherever they stand in it (messages and stack traces included).
 */
import { type Logger, pino } from 'pino';
import { systemClock } from './clock.ts';

export type { Logger } from 'pino';

export interface LogOptions {
  readonly level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace';
  /** `auto` is pretty on a terminal and JSON elsewhere. */
  readonly format: 'auto' | 'json' | 'pretty';
}

/** Where lines go. */
export interface LogOutput {
  write(line: string): void;
}

export interface Log {
  readonly logger: Logger;
  /** Lines thrown away because the output took none for too long. */
  dropped(): number;
  /** Writes what is left, as far as somebody reads it: the last thing before the process ends. */
  flush(): Promise<void>;
}

/** A stopped terminal or a full pipe must stop neither the gateway nor eat its memory: beyond this, lines are dropped. */
const WAITING_BYTES_MAX = 1024 * 1024;
/** A reader that has stopped reading gets no longer than this at the end. */
const FLUSH_MS = 1000;
const STDOUT = 1;

export const HIDDEN = '[secret]';
const TELLING_NAMES = 'password|passphrase|secret|secretkey|privatekey|private_key|token|authorization|psk|cookie';
const TELLING = new RegExp(
  `("(?:[^"\\\\]|\\\\.)*(?:${TELLING_NAMES})":)\\s*(?:"(?:[^"\\\\]|\\\\.)*"|-?\\d[\\d.eE+-]*)`,
  'gi',
);

/** @param secrets values to hide, as the config collected them. @param output for tests; default is standard output. */
export async function openLog(options: LogOptions, secrets: Iterable<string> = [], output?: LogOutput): Promise<Log> {
  const hide = hider(secrets);
  const isPretty =
    options.format === 'pretty' || (options.format === 'auto' && output === undefined && process.stdout.isTTY === true);
  const sink =
    output === undefined
      ? openStdout()
      : { write: (line: string) => output.write(line), dropped: () => 0, flush: async () => {} };
  const print = isPretty ? await prettyPrinter(output === undefined) : (line: string) => line;
  const logger = pino(
    {
      level: options.level,
      base: {},
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write: (line: string) => sink.write(print(hide(line))) },
  );
  return { logger, dropped: sink.dropped, flush: sink.flush };
}

function openStdout() {
  const destination = pino.destination({ dest: STDOUT, sync: false, maxLength: WAITING_BYTES_MAX });
  let dropped = 0;
  let isGone = false;
  destination.on('drop', () => dropped++);
  // Whoever read our output is gone (EPIPE): that is no reason to stop measuring.
  destination.on('error', () => {
    dropped++;
    isGone = true;
  });
  return {
    write: (line: string) => void destination.write(line),
    dropped: () => dropped,
    // Not flushSync: to a reader that is gone it tries for ever.
    flush: () =>
      new Promise<void>((resolve) => {
        if (isGone) return resolve();
        const timer = systemClock.after(FLUSH_MS, resolve);
        const done = () => {
          timer.cancel();
          resolve();
        };
        destination.once('error', done);
        destination.flush(done);
      }),
  };
}

/** Loaded only where it is used: a box in the field never prints pretty. */
async function prettyPrinter(colorize: boolean): Promise<(line: string) => string> {
  const { prettyFactory } = await import('pino-pretty');
  const pretty = prettyFactory({ colorize, ignore: 'pid,hostname', translateTime: 'SYS:HH:MM:ss.l' });
  return (line) => pretty(line) ?? line;
}

/** Replaces secrets in a finished line of JSON. */
export function hider(secrets: Iterable<string>): (line: string) => string {
  const spellings = [...secrets].flatMap((secret) => [
    secret,
    JSON.stringify(secret).slice(1, -1),
    encodeURIComponent(secret),
  ]);
  // Longest first: a secret that holds another one must not leave its rest behind.
  const known = [...new Set(spellings)].filter((each) => each !== '').sort((a, b) => b.length - a.length);
  return (line) =>
    known.reduce((text, secret) => text.replaceAll(secret, HIDDEN), line.replace(TELLING, `$1"${HIDDEN}"`));
}
