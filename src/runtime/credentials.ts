/** Small files with secrets: keys, passwords, systemd credentials. What others could read is refused, not used. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, SluiceError } from '../errors.ts';

/** A certificate chain fits; a mistaken path to a log or a database does not. */
const FILE_BYTES_MAX = 64 * 1024;
const GROUP_OR_OTHERS = 0o077;

/** A small text file, without its last line break. Throws `credential.unreadable`. */
export function readSmallFile(file: string, bytesMax = FILE_BYTES_MAX): string {
  try {
    const stat = statSync(file);
    if (!stat.isFile()) throw new SluiceError('credential.unreadable', 'stop', `${file} is no file`);
    if (stat.size > bytesMax) {
      throw new SluiceError('credential.unreadable', 'stop', `${file} is larger than ${bytesMax / 1024} KiB`);
    }
    return readFileSync(file, 'utf8').replace(/\r?\n$/, '');
  } catch (thrown) {
    if (thrown instanceof SluiceError) throw thrown;
    // The code says it all; the cause would say it again, with the path.
    throw new SluiceError('credential.unreadable', 'stop', `${file} cannot be read (${codeOf(thrown)})`);
  }
}

/** Throws `credential.exposed` when the group or others may read or change the file. */
export function refuseExposed(file: string): void {
  const mode = statSync(file).mode & 0o777;
  if ((mode & GROUP_OR_OTHERS) === 0) return;
  throw new SluiceError(
    'credential.exposed',
    'stop',
    `others can read the secret file ${file} (mode 0${mode.toString(8)})`,
    {
      hint: `chmod 600 ${file}`,
    },
  );
}

/** A key or password from a file that only its owner can read. */
export function readSecretFile(file: string): string {
  const text = readSmallFile(file);
  refuseExposed(file);
  return text;
}

/**
 * A credential that systemd passed with LoadCredential=. Its mode is systemd's business: under DynamicUser= it carries an
 * access list, which looks like group rights.
 */
export function readCredential(name: string, env: Readonly<Record<string, string | undefined>>): string {
  const folder = env.CREDENTIALS_DIRECTORY;
  if (!/^\w[\w.-]*$/.test(name)) {
    throw new SluiceError(
      'credential.name',
      'stop',
      `${name} is no name of a credential: letters, digits, . _ and - are`,
    );
  }
  if (folder === undefined || folder === '') {
    throw new SluiceError('credential.none', 'stop', `systemd passed no credential ${name}`, {
      hint: `add LoadCredential=${name}:/path to the unit`,
    });
  }
  return readSmallFile(join(folder, name));
}
