/** What a person does for a cloud beside the running receiver: sign its keys, make tokens for enrolment, revoke devices. */
import { existsSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { Audit } from '../cloud/audit.ts';
import { openDatabase } from '../cloud/database.ts';
import { DeviceBook, devicesFile, ensureDevices, issueToken } from '../cloud/index.ts';
import { SluiceError } from '../errors.ts';
import { systemClock } from '../runtime/clock.ts';
import { readSecretFile, readSmallFile } from '../runtime/credentials.ts';
import { PUBLIC_MODE, writeWhole } from '../runtime/safe-write.ts';
import { hex } from '../wire/bytes.ts';
import { KEY_LIST_FILE } from '../wire/keyfiles.ts';
import { formatKeyList, openKeyList, parseKeyList, rootHash, signKeyList } from '../wire/keylist.ts';
import { parseCloudPublic, parseRootKey } from '../wire/keys.ts';
import { Exit, type ExitCode } from './exit.ts';
import { type Output, time } from './output.ts';

/** Where `sluice cloud` looks when it is not told. */
export const DEVICES_FILE = 'devices.json';

export interface SignKeysCommand {
  readonly root: string;
  readonly cloud: string;
  readonly out: string;
  readonly json?: boolean;
}

/** `sluice cloud keys`: on the machine that has the root. */
export async function signKeys(
  { root: rootFile, cloud, out, json }: SignKeysCommand,
  output: Output,
): Promise<ExitCode> {
  const root = parseRootKey(readSecretFile(rootFile));
  const keys = parseCloudPublic(readSmallFile(cloud));
  const before = existsSync(out) ? openKeyList(parseKeyList(readSmallFile(out))).keys.version : 0;
  if (keys.version <= before) {
    throw new SluiceError(
      'usage.key_list_version',
      'stop',
      `${out} is a list of version ${before}, ${cloud} has ${keys.version}`,
      {
        hint: 'A version never goes down, and stands for one list: make the next keys with sluice keygen --cloud --rotate.',
      },
    );
  }
  writeWhole(out, formatKeyList(signKeyList(keys, root)), PUBLIC_MODE);
  const facts = { list: out, version: keys.version, root: hex(rootHash(root.publicKey)) };
  if (json === true) output.json(facts);
  else
    output.line(
      `${out}   version ${keys.version}, signed by the root ${facts.root.slice(0, 16)}…: sluice cloud --key-list`,
    );
  return Exit.fine;
}

interface Beside {
  readonly data: string;
  readonly devices?: string;
  readonly json?: boolean;
}

export interface TokenCommand extends Beside {
  readonly name: string;
  readonly expires: number;
  readonly keyList?: string;
}

/** `sluice cloud token` */
export async function token(options: TokenCommand, output: Output): Promise<ExitCode> {
  const list = options.keyList ?? join(options.data, KEY_LIST_FILE);
  const { root } = openKeyList(parseKeyList(readSmallFile(list)));
  const issued = beside(options, ({ db, audit, devices }) => {
    const { name, expires: validMs } = options;
    return issueToken({ db, audit, devices, root, clock: systemClock, name, validMs, who: whoami() });
  });
  if (options.json === true) {
    output.json({ ...issued, name: options.name });
    return Exit.fine;
  }
  output.line(issued.token);
  const until = `works once, until ${time(issued.expiresMs)}`;
  const why =
    issued.device === undefined
      ? ''
      : `; ${options.name} is listed: it gives that device a new key, and ends its others`;
  output.problem(
    `For ${options.name}; ${until}${why}. On the box: sluice enroll --url <this cloud> --token <token> --out keys`,
  );
  return Exit.fine;
}

/** `sluice cloud revoke` */
export async function revoke(device: string, options: Beside, output: Output): Promise<ExitCode> {
  const logger = { info: () => {}, error: () => {} };
  const revoked = beside(options, (parts) => new DeviceBook({ ...parts, logger }).revoke(device, whoami()));
  if (options.json === true) output.json(revoked);
  else
    output.line(
      `${revoked.name} (${revoked.device}) is revoked, ${revoked.keys} keys: nothing it sends is taken any more`,
    );
  return Exit.fine;
}

interface Parts {
  readonly db: ReturnType<typeof openDatabase>;
  readonly audit: Audit;
  readonly devices: ReturnType<typeof devicesFile>;
}

/** On the files of a receiver, whether it runs or not: its database is the lock between the two. */
function beside<T>({ data, devices: named }: Beside, work: (parts: Parts) => T): T {
  if (!existsSync(data)) {
    throw new SluiceError('usage.no_data', 'stop', `there is no folder ${data}`, {
      hint: 'The folder that `sluice cloud --data` has.',
    });
  }
  const file = named ?? join(data, DEVICES_FILE);
  if (named === undefined) ensureDevices(file);
  const quiet = { info: () => {}, error: () => {} };
  const db = openDatabase(data);
  try {
    return work({ db, audit: new Audit(db, systemClock), devices: devicesFile(file, quiet) });
  } finally {
    db.close();
  }
}

function whoami(): string {
  try {
    return userInfo().username;
  } catch {
    // A container's user may have no name.
    return `uid ${process.getuid?.() ?? '?'}`;
  }
}
