import {
  type CacheReader,
  type DeadLetter,
  type Ledger,
  type VerifyReport,
  WRITE_OFF_REASONS,
} from '../cache/index.ts';
import { Exit, type ExitCode } from './exit.ts';
import { type CacheChoice, openLocalCache } from './local-cache.ts';
import { count, type Output, table, time } from './output.ts';

const DEAD_LETTERS_SHOWN = 20;
const ORIGINAL_LETTERS_SHOWN = 60;

export interface LedgerCommand extends CacheChoice {
  readonly verify?: boolean;
  readonly deadLetters?: boolean;
  readonly json?: boolean;
}

export async function ledger(options: LedgerCommand, output: Output): Promise<ExitCode> {
  const { cache } = openLocalCache(options);
  try {
    const account = cache.ledger();
    const report = options.verify === true ? cache.verify() : undefined;
    const letters = options.deadLetters === true ? cache.deadLetters(DEAD_LETTERS_SHOWN) : undefined;
    if (options.json === true) output.json({ ledger: account, verify: report, deadLetters: letters?.map(plainLetter) });
    else print(account, report, letters, output);
    return report === undefined || report.ok ? Exit.fine : Exit.finding;
  } finally {
    cache.close();
  }
}

function print(
  account: Ledger,
  report: VerifyReport | undefined,
  letters: readonly DeadLetter[] | undefined,
  output: Output,
): void {
  output.line(`The ledger since ${time(account.sinceMs)}`);
  output.line();
  const intake = Object.entries(account.sources).map(([source, sums]) => [
    source,
    ...[sums.received, sums.rejected, sums.duplicate, sums.thinned, sums.accepted].map(count),
  ]);
  const right = Array.from({ length: 9 }, (_, at) => (at === 0 ? ('left' as const) : ('right' as const)));
  output.line(table(['source', 'received', '= rejected', '+ duplicate', '+ thinned', '+ accepted'], intake, right));
  for (const [target, sources] of Object.entries(account.targets)) {
    // A column for a reason only where something was written off for it: mostly there is none.
    const reasons = WRITE_OFF_REASONS.filter((reason) => Object.values(sources).some((sums) => sums[reason] > 0));
    output.line();
    const head = [`to ${target}`, 'accepted', '= delivered', '+ pending', ...reasons.map((reason) => `+ ${reason}`)];
    const rows = Object.entries(sources).map(([source, sums]) => [
      source,
      count(account.sources[source]?.accepted ?? 0),
      count(sums.delivered),
      count(sums.pending),
      ...reasons.map((reason) => count(sums[reason])),
    ]);
    output.line(table(head, rows, right));
  }
  if (report !== undefined) printReport(report, output);
  if (letters !== undefined) printLetters(letters, output);
}

function printReport(report: VerifyReport, output: Output): void {
  output.line();
  output.line(`Counted again: ${count(report.blocks)} blocks, ${count(report.readings)} readings.`);
  for (const id of report.damaged) output.line(`  block ${id} does not read back as it was written`);
  if (report.damagedReadings > 0) output.line(`  ${count(report.damagedReadings)} readings are lost with that`);
  for (const { target, source, ledger: expected, blocks } of report.differences) {
    output.line(
      `  ${source} to ${target}: the ledger says ${count(expected)} pending, the blocks hold ${count(blocks)}`,
    );
  }
  output.line(report.ok ? 'It adds up.' : 'It does NOT add up.');
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
