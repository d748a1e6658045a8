/** The account of every reading, as it is in the file; and a recount that proves it, or says what is wrong (exit code 1). */
import { type CacheReader, cacheHolder, type DeadLetter, type Ledger, type VerifyReport } from '../cache/index.ts';
import { Exit, type ExitCode } from './exit.ts';
import { printAccount, printReport } from './ledger-report.ts';
import { type CacheChoice, openLocalCache } from './local-cache.ts';
import { type Output, table, time } from './output.ts';

const DEAD_LETTERS_SHOWN = 20;
const ORIGINAL_LETTERS_SHOWN = 60;

export interface LedgerCommand extends CacheChoice {
  readonly verify?: boolean;
  readonly deadLetters?: boolean;
  readonly json?: boolean;
}

export async function ledger(options: LedgerCommand, output: Output): Promise<ExitCode> {
  const { cache, path } = openLocalCache(options);
  try {
    const account = cache.ledger();
    const report = options.verify === true ? cache.verify() : undefined;
    const letters = options.deadLetters === true ? cache.deadLetters(DEAD_LETTERS_SHOWN) : undefined;
    if (options.json === true) output.json({ ledger: account, verify: report, deadLetters: letters?.map(plainLetter) });
    else print(account, report, letters, path, output);
    return report === undefined || report.ok ? Exit.fine : Exit.finding;
  } finally {
    cache.close();
  }
}

function print(
  account: Ledger,
  report: VerifyReport | undefined,
  letters: readonly DeadLetter[] | undefined,
  path: string,
  output: Output,
): void {
  printAccount(account, output);
  if (report !== undefined) printReport(report, path, cacheHolder(path) !== undefined, output);
  if (letters !== undefined) printLetters(letters, output);
}

function printLetters(letters: readonly DeadLetter[], output: Output): void {
  output.line();
  if (letters.length === 0) {
    output.line('No dead letters.');
    return;
  }
  const rows = letters.map((letter) => [time(letter.atMs), letter.subject, letter.reason, excerpt(letter.original)]);
  output.line(table(['refused at', 'what', 'why', 'the original begins'], rows));
}

/** Control characters would drive the reader's terminal. */
function excerpt(original: Uint8Array): string {
  const text = Buffer.from(original).toString('utf8').replaceAll(/\p{C}/gu, '·');
  return text.length > ORIGINAL_LETTERS_SHOWN ? `${text.slice(0, ORIGINAL_LETTERS_SHOWN)}…` : text;
}

function plainLetter(letter: ReturnType<CacheReader['deadLetters']>[number]) {
  return { ...letter, original: Buffer.from(letter.original).toString('base64') };
}
