/** `sluice cloud`: the receiver, and what is done beside it. */
import { type Command, Option } from 'commander';
import { duration, port, whole } from './arguments.ts';
import type { Output } from './output.ts';
import { accessCommands } from './program-access.ts';

/** What commander gives of `sluice cloud` itself: what the receiver needs is needed by no subcommand. */
type Given = Readonly<Record<string, unknown>>;

const NEEDED = { data: '--data <folder>', keys: '--keys <file>' } as const;

const data = () =>
  new Option('--data <folder>', 'the folder of the receiver, whether it runs or not').makeOptionMandatory();
const devices = () => new Option('--devices <file>', 'the list of devices (default: devices.json in the data folder)');
const json = () => new Option('--json', 'print JSON, for scripts');

export function cloudCommands(program: Command, output: Output, exit: (code: number) => void): void {
  const cloud = program
    .command('cloud')
    .description('the cloud receiver: checks, opens and keeps what gateways deliver, and answers queries')
    // Options after a subcommand's name are the subcommand's.
    .enablePositionalOptions()
    .option('--host <address>', 'listen here', '127.0.0.1')
    .option('--port <port>', 'HTTP; 0 takes a free one', port, 8443)
    .option(NEEDED.data, 'where it keeps what it received (needed)')
    .option(NEEDED.keys, 'the cloud key file made by `sluice keygen --cloud` (needed)')
    .option('--key-list <file>', 'these keys, signed by the root (default: cloud.list in the data folder, where it is)')
    .addOption(devices())
    .option('--token-file <file>', 'a file (mode 0600) with a reader token, beside those of `sluice cloud access`')
    .option('--operator-token-file <file>', 'a file (mode 0600) with an operator token, beside those')
    .option('--tls-cert <file>', 'speak HTTPS with this certificate and chain, PEM; SIGHUP reads it again')
    .option('--tls-key <file>', 'its key, PEM (mode 0600)')
    .option('--tls-client-ca <file>', 'take only clients whose certificate one of these signed')
    .option('--keep-for <duration>', 'remove readings that are older, such as 400d (default: keep all)', duration)
    .option('--keep-bytes <count>', 'remove the oldest readings when the store takes more (default: keep all)', whole)
    .option('--device-readings <count>', 'one gateway may send so many a second (default: 2000000)', whole)
    .option('--device-bytes <count>', 'and so many bytes (default: 33554432)', whole)
    .option('--forward <url>', 'hand every reading on to this address, too: POST of NDJSON, at least once')
    .option('--forward-token-file <file>', 'a file (mode 0600) with the bearer token for it')
    .option('--forward-lag <readings>', 'so many may wait for it before gateways are told to (default: 5000000)', whole)
    .action(async (options: Given, command: Command) => {
      for (const [name, flags] of Object.entries(NEEDED)) {
        if (options[name] === undefined) command.error(`error: required option '${flags}' not specified`);
      }
      // Just looked at, and the defaults fill the rest.
      exit(await (await import('./cloud.ts')).cloud(command.opts(), output));
    });
  keys(cloud, output, exit);
  devicesOf(cloud, output, exit);
  accessCommands(cloud, output, exit);
}

function keys(cloud: Command, output: Output, exit: (code: number) => void): void {
  cloud
    .command('keys')
    .description('sign the public keys of a cloud with the root, on the machine that has it')
    .requiredOption('--root <file>', 'root.key, made by `sluice keygen --root`')
    .requiredOption('--cloud <file>', 'cloud.pub, or that of the next version')
    .requiredOption('--out <file>', 'the signed list, for `sluice cloud --key-list`')
    .addOption(json())
    .action(async (options) => exit(await (await import('./cloud-admin.ts')).signKeys(options, output)));
}

function devicesOf(cloud: Command, output: Output, exit: (code: number) => void): void {
  cloud
    .command('token')
    .description('make a one-time token with which one gateway can enrol; the receiver may run')
    .requiredOption('--name <name>', 'what the gateway will be called; one that is listed gets a new key')
    .option('--expires <duration>', 'how long it is good', duration, 3_600_000)
    .option('--key-list <file>', 'the signed list of keys (default: cloud.list in the data folder)')
    .addOption(data())
    .addOption(devices())
    .addOption(json())
    .action(async (options) => exit(await (await import('./cloud-admin.ts')).token(options, output)));
  cloud
    .command('revoke')
    .description('take nothing more from a gateway, from now on; the receiver may run')
    .argument('<device>', 'its name or id')
    .addOption(data())
    .addOption(devices())
    .addOption(json())
    .action(async (device, options) => exit(await (await import('./cloud-admin.ts')).revoke(device, options, output)));
}
