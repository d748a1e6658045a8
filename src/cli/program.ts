/**
 * The command line: which commands there are and where each lives. A command's code is loaded only when it runs, so that
 * `sluice status` on a small box does not pay for the gateway.
 */
import { Command, CommanderError, Option } from 'commander';
import { asError, isSluiceError } from '../errors.ts';
import { duration, port, whole } from './arguments.ts';
import { Exit, exitOf } from './exit.ts';
import { type Output, standardOutput } from './output.ts';
import { cloudCommands } from './program-cloud.ts';
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
  return exitOf(error);
}

const config = () =>
  new Option('-c, --config <file>', 'the configuration').env('SLUICE_CONFIG').default(DEFAULT_CONFIG);
const json = () => new Option('--json', 'print JSON, for scripts');
const cacheFile = () => new Option('--cache <file>', 'read this cache file instead of the one in the configuration');
const keyFile = () =>
  new Option('--key-file <file>', 'the key of an encrypted cache, instead of those in the configuration');

function build(output: Output, exit: (code: number) => void): Command {
  const program = new Command('sluice')
    .description(
      'The industrial edge gateway: reads field devices, keeps every reading on disk, delivers it sealed to your cloud.',
    )
    .version(version(), '-V, --version')
    // `cloud` and its subcommands have options of the same name.
    .enablePositionalOptions()
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
    .action(async (options) => {
      await import('./young-generation.ts'); // before all that it is for is loaded
      exit(await (await import('./run.ts')).run(options, output));
    });
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
  cloudCommands(program, output, exit);
  program
    .command('keygen')
    .description(
      'make the keys of a gateway, with --cloud those of a receiver, with --root what signs them, with --cache the key of a cache',
    )
    .option('--cloud', 'keys of a cloud receiver')
    .option('--root', "a root, to be kept offline, that signs lists of a cloud's keys (sluice cloud keys)")
    .option('--cache', 'only a key that encrypts the cache on this disk (cache.encryptAtRest)')
    .option(
      '--rotate',
      'the next key of the gateway of --config, brought to its cloud; with --cloud the next keys of a cloud',
    )
    .option('--retire', 'with --cloud: the next version, without the keys that were replaced')
    .option('--dir <folder>', 'where to write them', '.')
    .option('--out <folder>', 'with --rotate, where the key in use is a credential: where to write the new one')
    .option('--name <name>', 'what the cloud will call this gateway', 'gateway')
    .option('--force', 'replace keys that are already there (what was sealed to them can no longer be opened)')
    .addOption(config())
    .addOption(json())
    .action(async (options) => exit(await (await import('./keygen.ts')).keygen(options, output)));
  program
    .command('enroll')
    .description('make this gateway known to a cloud, with a one-time token that `sluice cloud token` made there')
    .requiredOption('--url <url>', 'the cloud, as uplink.url has it')
    .option('--token <token>', 'the token; other users of this machine can see it while this runs')
    .option('--token-file <file>', 'a file (mode 0600) with the token')
    .option('--out <folder>', 'where to write device.key, root.pub and cloud.list', 'keys')
    .option('--key <file>', 'enrol this device key (mode 0600) instead of a new one')
    .option('--credential <name>', 'enrol the device key in this systemd credential instead of a new one')
    .option('--ca <file>', "PEM file of the authorities to trust instead of the system's")
    .option('--allow-insecure', 'http:// to another machine')
    .addOption(json())
    .action(async (options) => exit(await (await import('./enroll.ts')).enroll(options, output)));
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
