/** What `sluice ledger` prints: the account, why readings are not in it, and what a recount found. */
import { resolve } from 'node:path';
import {
  type DamagedBlock,
  differenceLine,
  type Ledger,
  type TargetLedger,
  type VerifyReport,
  WRITE_OFF_REASONS,
} from '../cache/index.ts';
import { type Align, count, fold, type Output, table, time } from './output.ts';

/** What a reason means, where its name does not say. Drivers word others themselves. */
const MEANINGS: Readonly<Record<string, string>> = {
  'rejected/unknown_tag': 'a tag that nobody registered',
  'rejected/bad_quality_byte': 'a quality that does not exist',
  'rejected/wrong_type': 'not of the type of its tag',
  'rejected/out_of_range': 'outside min and max of its tag',
  'rejected/time_too_old': 'before 2000',
  'rejected/time_in_future': 'later than pipeline.futureMax allows',
  'rejected/no_room': 'level 5: the disk or memory was full',
  'rejected/other': 'one of too many reasons to count each',
  'rejected/unstated': 'no reason was given',
  'dropped/bytes': 'more than cache.bytesMax waited',
  'dropped/free_disk': 'less than cache.diskFreeMin was free',
  'dropped/full': 'the disk was full',
  'dropped/age': 'older than cache.ageMax',
  aggregated: 'only averages of a minute are left',
  damaged: 'the disk gave back something else',
  refused: 'the cloud would not take them',
  forgotten: 'by sluice forget, or a target that was taken out',
  cloud_lost: 'the cloud had them, and lost them',
};
const RIGHT: readonly Align[] = ['left', 'right', 'right', 'right', 'right', 'right', 'right'];
/** Hex digits of a run: enough to tell it from others. */
const RUN_SHOWN = 8;

export function printAccount(account: Ledger, output: Output): void {
  output.line(`The ledger since ${time(account.sinceMs)}`);
  output.line();
  const sources = Object.entries(account.sources);
  if (sources.length === 0) {
    output.line('No readings yet.');
    return;
  }
  const intake = sources.map(([source, sums]) => [
    source,
    ...[sums.received, sums.rejected, sums.duplicate, sums.thinned, sums.accepted, sums.committed].map(count),
  ]);
  const head = ['source', 'received', '= rejected', '+ duplicate', '+ thinned', '+ accepted', 'committed'];
  output.line(table(head, intake, RIGHT));
  for (const [target, accounts] of Object.entries(account.targets)) {
    const rows = Object.entries(accounts).map(([source, sums]) => [
      source,
      ...[account.sources[source]?.accepted ?? 0, sums.delivered, sums.pending, writtenOff(sums)].map(count),
    ]);
    output.line();
    output.line(table([`to ${target}`, 'accepted', '= delivered', '+ pending', '+ written off'], rows, RIGHT));
  }
  printReasons(account, output);
}

function writtenOff(sums: TargetLedger): number {
  return WRITE_OFF_REASONS.reduce((sum, reason) => sum + sums[reason], 0);
}

/** Only what there is: mostly nothing was rejected or written off. */
function printReasons(account: Ledger, output: Output): void {
  const rows = [...rejected(account), ...lost(account)];
  if (rows.length === 0) return;
  output.line();
  output.line(table(['source', 'readings', 'what', 'why'], rows, ['left', 'right']));
}

function* rejected({ rejections }: Ledger): Generator<string[]> {
  for (const [source, reasons] of Object.entries(rejections))
    for (const [reason, readings] of mostFirst(reasons))
      yield [source, count(readings), 'rejected', explained('rejected', reason)];
}

function* lost({ targets, drops }: Ledger): Generator<string[]> {
  const many = Object.keys(targets).length > 1;
  for (const [target, accounts] of Object.entries(targets)) {
    const suffix = many ? ` (${target})` : '';
    for (const [source, sums] of Object.entries(accounts)) {
      for (const what of WRITE_OFF_REASONS) {
        if (what === 'dropped') continue;
        if (sums[what] !== 0) yield [source, count(sums[what]), `${what}${suffix}`, MEANINGS[what] ?? ''];
      }
      for (const [reason, readings] of mostFirst(drops[target]?.[source] ?? {}))
        yield [source, count(readings), `dropped${suffix}`, explained('dropped', reason)];
    }
  }
}

function mostFirst(reasons: Readonly<Record<string, number>>): [string, number][] {
  return Object.entries(reasons).sort(([, a], [, b]) => b - a);
}

function explained(what: string, reason: string): string {
  const meaning = MEANINGS[`${what}/${reason}`];
  return meaning === undefined ? reason : `${reason}: ${meaning}`;
}

/** @param cachePath of the cache. @param isRunning a gateway has it open. */
export function printReport(report: VerifyReport, cachePath: string, isRunning: boolean, output: Output): void {
  const { blocks, readings, damaged, differences, ok } = report;
  const path = resolve(cachePath);
  output.line();
  output.line(
    `Counted again: ${count(blocks)} ${plural('block', blocks)}, ${count(readings)} ${plural('reading', readings)}.`,
  );
  for (const difference of differences) output.line(fold(differenceLine(difference), '  '));
  for (const block of damaged) printDamaged(block, isRunning, output);
  if (ok) {
    output.line('It adds up.');
    return;
  }
  if (differences.length > 0) {
    output.line('It does NOT add up.');
    advise(output, [
      'Something changed the account or the blocks that was not this program, or this program has a defect.',
      `Keep a copy of ${path}, and report what this command says with --json. Readings are taken and delivered all the same.`,
    ]);
  } else output.line('The sums add up; what is damaged does not read back.');
  if (damaged.length > 0)
    advise(output, [
      `Look at dmesg, and check the card. If it fails, copy ${path} now and replace it: the other blocks are whole.`,
      'What was set aside stays in the file (the newest 64), for a look with other tools.',
    ]);
}

function printDamaged(block: DamagedBlock, isRunning: boolean, output: Output): void {
  const { id, run, class: name, from, to, rows, lost, readings, pending, firstMs, lastMs } = block;
  output.line(fold(`DAMAGED: block ${id} does not read back as it was written:`, '  '));
  const sources = Object.entries(readings).map(([source, some]) => `${count(some)} of ${source}`);
  const whose = sources.length === 1 ? ` of ${Object.keys(readings)[0]}` : `: ${sources.join(', ')}`;
  const held = sources.length > 0 ? `${plural('reading', rows)}${whose}` : `${name} ${plural('row', rows)}`;
  const some = lost < rows ? ` Of these, ${count(lost)} are lost, the others read back.` : '';
  const numbers = `run ${run.slice(0, RUN_SHOWN)}, class ${name}, numbers ${count(from)} to ${count(to)}`;
  output.line(fold(`${count(rows)} ${held}; ${numbers}; from ${time(firstMs)} to ${time(lastMs)}.${some}`, '    '));
  const start = isRunning ? '' : 'Start the gateway: ';
  const what =
    pending.length === 0
      ? 'Nothing of it waits to be sent: it was delivered, or there is no uplink. Questions leave it out here, until it gives way to newer ones.'
      : `${start}${start === '' ? 'When' : 'when'} its turn comes to be sent to ${pending.join(', ')}, it is set aside, the ledger has it as damaged, and the far side is told of the gap.`;
  output.line(fold(what, '    '));
}

function advise(output: Output, sentences: readonly string[]): void {
  output.line(fold(sentences.join(' '), '  ', '→ '));
}

function plural(noun: string, number: number): string {
  return number === 1 ? noun : `${noun}s`;
}
