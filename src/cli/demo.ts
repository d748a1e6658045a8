import { checkDemo, type DemoPlaces, type DemoSummary, type DemoView, runDemo } from '../demo/demo.ts';
import type { Figures } from '../demo/figures.ts';
import { systemClock } from '../runtime/clock.ts';
import { Exit, type ExitCode } from './exit.ts';
import { count, type Output, span, table } from './output.ts';
import { stopSignal } from './stop-signal.ts';

/** Without a terminal to write over, a line now and then is enough. */
const PLAIN_EVERY = 5;

export interface DemoCommand {
  readonly for?: number;
  readonly outage?: number;
  readonly dir?: string;
  readonly seed: number;
  readonly json?: boolean;
}

export async function demo(options: DemoCommand, output: Output): Promise<ExitCode> {
  checkDemo(options.for, options.outage);
  const asked = stopSignal();
  // With a length of its own it goes on without a reader: the proof is in its exit code.
  const stopped = options.for === undefined ? AbortSignal.any([asked, output.closed]) : asked;
  const isQuiet = options.json === true;
  if (!isQuiet) output.line('Sluice demo: starting a plant, a cloud and a gateway as real processes …');
  const summary = await runDemo(
    {
      dir: options.dir,
      seed: options.seed,
      forMs: options.for,
      outageMs: options.outage,
      clock: systemClock,
      stopped,
    },
    isQuiet ? silent : new TerminalView(output),
  );
  if (isQuiet) output.json(summary);
  else printSummary(summary, output);
  return summary.oracle.holds ? Exit.fine : Exit.finding;
}

const silent: DemoView = { started: () => {}, figures: () => {}, note: () => {} };

class TerminalView implements DemoView {
  readonly #output: Output;
  #blockLines = 0;
  #round = 0;

  constructor(output: Output) {
    this.#output = output;
  }

  started({ http, cloud, hmiPort, folder }: DemoPlaces): void {
    const from = 'sluice query plc/boiler/flow_temp --from 1min';
    this.#output.line(`
  live values   mosquitto_sub -h 127.0.0.1 -p ${hmiPort} -t 'sluice/demo/#' -v
  metrics       ${http}/metrics
  the cloud     npx ${from} --url ${cloud}
                ${cloud}/v1/latest?tag=plc/*
  this box      npx sluice status --cache ${folder}/cache
  logs          ${folder}/logs

  Ctrl-C ends it and proves that nothing was lost.
`);
  }

  figures(figures: Figures): void {
    const block = statusBlock(figures);
    if (this.#output.terminal) {
      const up = this.#blockLines > 0 ? `\u001b[${this.#blockLines}A\u001b[0J` : '';
      this.#output.line(up + block.join('\n'));
      this.#blockLines = block.length;
    } else if (this.#round % PLAIN_EVERY === 0) this.#output.line(plainLine(figures));
    this.#round++;
  }

  note(text: string): void {
    this.#output.line(`  ${text}`);
    // What stands above the note stays: the next block begins below it.
    this.#blockLines = 0;
  }
}

function statusBlock(figures: Figures): string[] {
  const { sources, cloudUp } = figures;
  const states = sources.map(({ source, state }) => `${source} ${state}`).join(', ');
  return [
    `  in          ${count(figures.readingsPerSecond)} readings/s   (${states})`,
    `  accepted    ${count(figures.accepted)}   rejected ${count(figures.rejected)}`,
    `  delivered   ${count(figures.delivered)}   pending ${count(figures.pending)}   cloud ${cloudUp ? 'up' : 'DOWN'}`,
    `  wire        ${figures.bytesPerReading === undefined ? '-' : `${figures.bytesPerReading.toFixed(1)} bytes a reading`}`,
    `  freshness   ${figures.freshnessMs === undefined ? '-' : span(figures.freshnessMs)}   alarms ${count(figures.alarms)}`,
  ];
}

function plainLine(figures: Figures): string {
  const { readingsPerSecond, delivered, pending, cloudUp } = figures;
  return `  ${count(readingsPerSecond)} readings/s, ${count(delivered)} delivered, ${count(pending)} pending, cloud ${cloudUp ? 'up' : 'DOWN'}`;
}

function printSummary(summary: DemoSummary, output: Output): void {
  const { oracle, ledger } = summary;
  const after = summary.outageSeconds > 0 ? `, ${span(summary.outageSeconds * 1000)} of it without a cloud` : '';
  output.line(`\nThe ledger after ${span(summary.seconds * 1000)}${after}`);
  const account = {
    accepted: ledger.accepted,
    delivered: ledger.delivered,
    pending: ledger.pending,
    'written off': ledger.writtenOff,
  };
  output.line(
    indent(
      table(
        ['', 'readings'],
        Object.entries(account).map(([name, sum]) => [name, count(sum)]),
        ['left', 'right'],
      ),
    ),
  );
  output.line(
    `  at most ${count(summary.pendingMax)} pending at once; ${summary.bytesPerReading?.toFixed(1) ?? '-'} bytes a reading on the wire`,
  );
  output.line('\nThe oracle');
  output.line(
    `  ${count(oracle.readings)} readings of ${oracle.tags} tags are in the cloud; compared by content with the gateway's journal,`,
  );
  output.line(
    `  with ${count(oracle.messages)} sensor messages and ${count(oracle.registers)} register readings of the plant.`,
  );
  if (oracle.holds) output.line('  HOLDS: every accepted reading is in the cloud exactly once, with its value.');
  else {
    output.line('  DOES NOT HOLD:');
    for (const problem of oracle.problems) output.line(`    ${problem}`);
  }
}

function indent(text: string): string {
  return text.replaceAll(/^/gm, '  ');
}
