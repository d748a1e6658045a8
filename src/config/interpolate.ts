/**
 * What strings of the config may hold instead of the value itself:
 *
 * - `${env:NAME}`, `${env:NAME:-default}`: an environment variable;
 * - `${file:path}`: a file's content without its last line break; relative to the config's folder;
 * - `${credential:name}`: a systemd credential (a file in $CREDENTIALS_DIRECTORY);
 * - `$${`: the two characters `${`.
 *
 * Everything from a credential, from a file that others could not read, and under a setting or variable with a telling
 * name is a secret: it is collected, so that no log and no finding shows it.
 */
import { resolve } from 'node:path';
import { readCredential, readSmallFile, refuseExposed } from '../runtime/credentials.ts';
import type { Path } from './findings.ts';

/** Hiding every "on" or "12" in a log would hide the log. */
export const SECRET_LETTERS_MIN = 4;

const SECRET_NAME = /pass(word|phrase)?$|secret|token|psk$|private_?key|credential/i;
/** Certificates and public keys are there to be read. */
const PUBLIC_PEM =
  /^(?:\s*-----BEGIN (?:CERTIFICATE|PUBLIC KEY)-----[^-]*-----END (?:CERTIFICATE|PUBLIC KEY)-----\s*)+$/;
const URL_PASSWORD = /^[a-z][a-z0-9+.-]*:\/\/[^/@\s]*:([^@\s]+)@/i;
const PLACEHOLDER = /\$\$\{|\$\{(?:(env|file|credential):([^}]*))?[^}]*\}?/g;

export type Environment = Readonly<Record<string, string | undefined>>;

export class Interpolation {
  /** Values that must be shown nowhere. */
  readonly secrets = new Set<string>();
  /** Paths (as JSON) of strings that held a placeholder: a port from the environment is a number. */
  readonly replaced = new Set<string>();
  readonly #folder: string;
  readonly #env: Environment;

  constructor(folder: string, env: Environment) {
    this.#folder = folder;
    this.#env = env;
  }

  /** Throws an Error that says why a placeholder cannot be filled. */
  replace(text: string, path: Path): string {
    const result = text.replace(PLACEHOLDER, (whole: string, kind?: string, argument?: string) => {
      if (whole === '$${') return '${';
      this.replaced.add(JSON.stringify(path));
      if (kind === undefined || argument === undefined || argument === '' || !whole.endsWith('}')) {
        throw new Error(
          `${whole} is none of \${env:NAME}, \${file:path}, \${credential:name}; write $\${ for the characters themselves`,
        );
      }
      if (kind === 'env') return this.#fromEnv(argument);
      return kind === 'file' ? this.#fromFile(argument) : this.#fromCredential(argument);
    });
    const setting = path.findLast((step) => typeof step === 'string');
    if (typeof setting === 'string' && SECRET_NAME.test(setting)) this.#keepSecret(result);
    const password = URL_PASSWORD.exec(result)?.[1];
    if (password !== undefined) this.#keepSecret(password);
    return result;
  }

  #fromEnv(argument: string): string {
    const [, name = argument, fallback] = /^(.*?):-(.*)$/s.exec(argument) ?? [];
    const value = this.#env[name];
    if (value !== undefined && value !== '') {
      if (SECRET_NAME.test(name)) this.#keepSecret(value);
      return value;
    }
    if (fallback !== undefined) return fallback;
    throw new Error(`the environment variable ${name} is not set`);
  }

  #fromFile(argument: string): string {
    const file = resolve(this.#folder, argument);
    const content = readSmallFile(file);
    if (!PUBLIC_PEM.test(content)) {
      this.#keepSecret(content);
      refuseExposed(file);
    }
    return content;
  }

  #fromCredential(name: string): string {
    const content = readCredential(name, this.#env);
    this.#keepSecret(content);
    return content;
  }

  #keepSecret(value: string): void {
    if (value.length >= SECRET_LETTERS_MIN) this.secrets.add(value);
  }
}
