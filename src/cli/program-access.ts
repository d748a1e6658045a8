/** `sluice cloud access` and `audit`: on the data of a receiver, whether it runs or not. */
import { type Command, Option } from 'commander';
import { duration, whole } from './arguments.ts';
import type { Output } from './output.ts';

const data = () =>
  new Option('--data <folder>', 'the folder of the receiver, whether it runs or not').makeOptionMandatory();
const json = () => new Option('--json', 'print JSON, for scripts');

export function accessCommands(cloud: Command, output: Output, exit: (code: number) => void): void {
  const access = cloud.command('access').description('tokens of people and programs that ask the receiver');
  access
    .command('add')
    .description('make a token; it is shown once')
    .argument('<name>', 'whose it is, for the list and the audit log')
    .addOption(
      new Option('--role <role>', 'reader: queries; operator: closes alarms, too; admin: tokens and deletion, too')
        .choices(['reader', 'operator', 'admin'])
        .default('reader'),
    )
    .option('--expires <duration>', 'ends by itself after this long, such as 90d (default: never)', duration)
    .addOption(data())
    .addOption(json())
    .action(async (name, options) => exit((await import('./cloud-access.ts')).addAccess(name, options, output)));
  access
    .command('list')
    .description('names, roles, when each was used last')
    .addOption(data())
    .addOption(json())
    .action(async (options) => exit((await import('./cloud-access.ts')).listAccess(options, output)));
  access
    .command('remove')
    .description('end a token, at once')
    .argument('<name>')
    .addOption(data())
    .addOption(json())
    .action(async (name, options) => exit((await import('./cloud-access.ts')).removeAccess(name, options, output)));
  cloud
    .command('audit')
    .description('who did what to a receiver: tokens, devices, alarms, deletions, refused logins; newest first')
    .option('--limit <rows>', 'so many', whole, 50)
    .addOption(data())
    .addOption(json())
    .action(async (options) => exit((await import('./cloud-access.ts')).showAudit(options, output)));
}
