/** Who may connect, read and write. Nobody but the gateway publishes; commands are the only way in, and those that only ask
 * are open to all who may read. */
import { createHash, timingSafeEqual } from 'node:crypto';
import type { HmiMqttConfig } from '../config/hmi.ts';
import { ASKING } from './commands.ts';
import { covers } from './filters.ts';

export interface User {
  readonly name: string;
  readonly read: readonly (readonly string[])[];
  readonly write: boolean;
}

interface Account {
  readonly user: User;
  readonly passwordHash: Buffer;
}

const ANONYMOUS: User = { name: 'anonymous', read: [['#']], write: false };

export class Access {
  readonly #accounts = new Map<string, Account>();
  readonly #anonymous: boolean;
  readonly #commandPrefix: string;

  constructor(config: Pick<HmiMqttConfig, 'users' | 'anonymous'>, commandPrefix: string) {
    this.#anonymous = config.anonymous === 'read';
    this.#commandPrefix = commandPrefix;
    for (const { name, password, read, write } of config.users) {
      const user = { name, read: read.map((filter) => filter.split('/')), write };
      this.#accounts.set(name, { user, passwordHash: digest(password) });
    }
  }

  /** @returns undefined for who may not come in. An unknown name takes as long as a wrong password. */
  login(name: string | undefined, password: Buffer | undefined): User | undefined {
    if (name === undefined) return this.#anonymous ? ANONYMOUS : undefined;
    const account = this.#accounts.get(name);
    const given = digest(password ?? '');
    const right = timingSafeEqual(given, account?.passwordHash ?? digest('no such account'));
    return right ? account?.user : undefined;
  }

  maySubscribe(user: User, filter: string): boolean {
    // $SYS holds the broker's own affairs, client ids among them.
    if (filter.startsWith('$')) return false;
    const wanted = filter.split('/');
    return user.read.some((allowed) => covers(allowed, wanted));
  }

  mayPublish(user: User, topic: string): boolean {
    if (!topic.startsWith(this.#commandPrefix)) return false;
    return user.write || ASKING.has(topic.slice(this.#commandPrefix.length));
  }
}

function digest(password: string | Buffer): Buffer {
  return createHash('sha256').update(password).digest();
}
