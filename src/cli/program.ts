/**
 * The command line: which commands there are and where each lives. A command's code is loaded only when it runs, so that
 * `sluice status` on a small box does not pay for the gateway.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { asError, isSluiceError } from '../errors.ts';
import { Exit } from './exit.ts';
import { type Output, standardOutput } from './output.ts';
import { version } from './version.ts';

const DEFAULT_CONFIG = '/etc/sluice/sluice.yaml';

/** @returns the exit code: 0 fine, 1 a finding, 2 usage or configuration. */
export async function runProgram(args: readonly string[], output: Output = standardOutput): Promise<number> {
  let exitCode: number = Exit.fine;
  const program = build(output, (code) => {
    exitCode = code;
  });
  try {
    await program.parseAsync([...args], { from: 'user' });
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? Exit.fine : Exit.usage;
    return report(thrown, output);
  }
  return exitCode;
}

/** What the caller has to give differently. */
const USAGE = /^(config|usage|credential)\.|^cache\.key/;

/** One error, as a person needs it: what, why, what to do. */
function report(thrown: unknown, output: Output): number {
  const error = asError(thrown);
  output.problem(`sluice: ${error.message}`);
  for (let cause = error.cause; cause !== undefined; cause = asError(cause).cause) {
    output.problem(`  because: ${asError(cause).message}`);
  }
  if (!isSluiceError(error)) {
    output.problem(error.stack ?? '');
    return Exit.finding;
  }
  if (error.hint !== undefined) output.problem(`  ${error.hint}`);
  return USAGE.test(error.code) ? Exit.usage : Exit.finding;
}

const config = () =>
  new Option('-c, --config <file>', 'the configuration').env('SLUICE_CONFIG').default(DEFAULT_CONFIG);
const json = () => new Option('--json', 'print JSON, for scripts');
const cacheFile = () => new Option('--cache <file>', 'read this cache file instead of the one in the configuration');
const keyFile = () =>
  new Option('--key-file <file>', 'the key of an encrypted cache, instead of those in the configuration');

function duration(text: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|min|h|d)?$/.exec(text.trim());
  const unit = { ms: 1, s: 1000, m: 60_000, min: 60_000, h: 3_600_000, d: 86_400_000 }[match?.[2] ?? 's'];
  if (match === null || unit === undefined) throw new InvalidArgumentError('A duration such as 30s, 5min or 2h.');
  return Number(match[1]) * unit;
}

function port(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 0 || number > 65_535) {
    throw new InvalidArgumentError('A port is a whole number from 0 to 65535; 0 takes any free one.');
  }
  return number;
}

function whole(text: string): number {
  const number = Number(text);
  if (!Number.isSafeInteger(number) || number < 1) throw new InvalidArgumentError('A whole number from 1 on.');
  return number;
}

function build(output: Output, exit: (code: number) => void): Command {
  const program = new Command('sluice')
    .description(
      'The industrial edge gateway: reads field devices, keeps every reading on disk, delivers it sealed to your cloud.',
    )
    .version(version(), '-V, --version')
    .showSuggestionAfterError()
    .showHelpAfterError('(sluice --help lists the commands)')
    .exitOverride()
    .configureOutput({
      writeErr: (text) => output.problem(text.trimEnd()),
      writeOut: (text) => output.line(text.trimEnd()),
    })
    .addHelpText(
      'after',
      `
Start here:
  sluice demo                         a whole plant, gateway and cloud on this machine; Ctrl-C ends it
  sluice check -c sluice.yaml         every mistake in a configuration, with its line
  sluice run -c sluice.yaml           the gateway itself

Exit codes: 0 fine, 1 a finding, 2 usage or configuration.
status, tail, query and ledger read the cache file: they work while the gateway runs, hangs or is dead.`,
    );
  running(program, output, exit);
  looking(program, output, exit);
  return program;
}

function running(program: Command, output: Output, exit: (code: number) => void): void {
  program
    .command('run')
    .description('run the gateway until SIGTERM or Ctrl-C; what is taken is on disk and, if it can be, in the cloud')
    .addOption(config())
    .action(async (options) => exit(await (await import('./run.ts')).run(options, output)));
  program
    .command('demo')
    .description(
      'a simulated plant, the gateway and a cloud, as real processes; ends with the proof that nothing was lost',
    )
    .option('--for <duration>', 'end by itself after this long', duration)
    .option('--outage <duration>', 'kill the cloud in the middle and start it again after this long', duration)
    .option(
      '--dir <folder>',
      'keep keys, cache, cloud data and logs here (default: a temporary folder, removed at the end)',
    )
    .option('--seed <number>', 'seed of the simulated plant', whole, 1)
    .addOption(json())
    .action(async (options) => exit(await (await import('./demo.ts')).demo(options, output)));
  program
    .command('plant')
    .description('the simulated plant alone: a Modbus TCP server with three units, and a broker with ten sensors')
    .option('--modbus-port <port>', 'Modbus TCP; 0 takes a free one', port, 15_020)
    .option('--mqtt-port <port>', 'MQTT; 0 takes a free one', port, 11_883)
    .option('--broker <url>', 'let the sensors publish to this broker, mqtt://host:port, instead of one of its own')
    .option('--truth-port <port>', 'HTTP, what the plant really produced; 0 takes a free one', port, 0)
    .option('--seed <number>', 'the same seed makes the same plant', whole, 1)
    .action(async (options) => exit(await (await import('./plant.ts')).plant(options, output)));
  program
    .command('cloud')
    .description('the cloud receiver: checks, opens and keeps what gateways deliver, and answers queries')
    .option('--host <address>', 'listen here', '127.0.0.1')
    .option('--port <port>', 'HTTP; 0 takes a free one', port, 8443)
    .requiredOption('--data <folder>', 'where it keeps what it received')
    .requiredOption('--keys <file>', 'the cloud key file made by `sluice keygen --cloud`')
    .requiredOption('--devices <file>', 'the devices it takes from: a JSON list of what `sluice keygen` printed')
    .option(
      '--token-file <file>',
      'a file (mode 0600) with the token that queries must carry; without it only loopback may ask',
    )
    .option(
      '--operator-token-file <file>',
      'a file (mode 0600) with the token that closing alarms takes; it may ask, too',
    )
    .action(async (options) => exit(await (await import('./cloud.ts')).cloud(options, output)));
  program
    .command('keygen')
    .description('make the keys of a gateway, with --cloud those of a receiver, with --cache the key of a cache')
    .option('--cloud', 'keys of a cloud receiver')
    .option('--cache', 'only a key that encrypts the cache on this disk (cache.encryptAtRest)')
    .option('--dir <folder>', 'where to write them', '.')
    .option('--name <name>', 'what the cloud will call this gateway', 'gateway')
    .option('--force', 'replace keys that are already there (what was sealed to them can no longer be opened)')
    .addOption(json())
    .action(async (options) => exit(await (await import('./keygen.ts')).keygen(options, output)));
}

function looking(program: Command, output: Output, exit: (code: number) => void): void {
  program
    .command('check')
    .description('read a configuration and print everything that is wrong with it; starts nothing')
    .addOption(config())
    .option('--schema', 'print the JSON Schema of the configuration, for editors')
    .addOption(json())
    .action(async (options) => exit(await (await import('./check.ts')).check(options, output)));
  program
    .command('status')
    .description('how the gateway is: sources, what is pending, what was delivered, alarms')
    .addOption(config())
    .addOption(cacheFile())
    .addOption(keyFile())
    .addOption(json())
    .action(async (options) => exit(await (await import('./status.ts')).status(options, output)));
  program
    .command('tail')
    .description('readings as they are committed; ends with Ctrl-C')
    .argument('[tag]', 'a tag or pattern, such as boiler/flow_temp or boiler/*', '*')
    .option('-n, --last <rows>', 'so many readings from before', whole, 10)
    .option('--no-follow', 'end after those')
    .addOption(config())
    .addOption(cacheFile())
    .addOption(keyFile())
    .addOption(json())
    .action(async (tag, options) => exit(await (await import('./tail.ts')).tail(tag, options, output)));
  program
    .command('query')
    .description('readings or windows of a tag, from the local cache or with --url from a cloud')
    .argument('<tag>', 'a full tag name, such as boiler/flow_temp')
    .option('--from <time>', 'ISO time, or how long ago (15min)', '15min')
    .option('--to <time>', 'ISO time, or how long ago', '0s')
    .option('--window <period>', 'windows of this length (1s, 10s, 1min, 1h) instead of readings', duration)
    .option(
      '--points <count>',
      'readings if so many fit, else the shortest windows that do (default on a terminal: 500)',
      whole,
    )
    .option('--limit <rows>', 'readings, at most so many, the newest (default: 1000)', whole)
    .option('--url <url>', 'ask this cloud receiver')
    .option('--token-file <file>', 'the token for --url')
    .addOption(config())
    .addOption(cacheFile())
    .addOption(keyFile())
    .addOption(json())
    .action(async (tag, options) => exit(await (await import('./query.ts')).query(tag, options, output)));
  program
    .command('forget')
    .description(
      'remove everything this disk holds of a tag; readings that were not delivered are written off. Audited',
    )
    .argument('[tag]', 'a full tag name, such as boiler/flow_temp')
    .option('--reason <text>', 'kept with who asked, and when')
    .option('--list', 'what was forgotten for whom')
    .option('--wait <duration>', 'for the gateway to do it; it goes on by itself', duration, 60_000)
    .addOption(config())
    .addOption(cacheFile())
    .addOption(json())
    .action(async (tag, options) => exit(await (await import('./forget.ts')).forget(tag, options, output)));
  program
    .command('ledger')
    .description('the account of every reading that ever entered: accepted = delivered + pending + written off')
    .option('--verify', 'count the blocks again and prove the sums; exit 1 when they do not hold')
    .option('--dead-letters', 'show the newest inputs that were refused, with the reason')
    .addOption(config())
    .addOption(cacheFile())
    .addOption(keyFile())
    .addOption(json())
    .action(async (options) => exit(await (await import('./ledger.ts')).ledger(options, output)));
}
