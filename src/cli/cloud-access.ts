/** `sluice cloud access` and `audit`: on the receiver's own data, while it runs or not; what is changed counts at once. */
import { existsSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { type CloudAccess, openAccess, type Role } from '../cloud/index.ts';
import { SluiceError } from '../errors.ts';
import { systemClock } from '../runtime/clock.ts';
import { Exit, type ExitCode } from './exit.ts';
import { type Output, table, time } from './output.ts';

interface OnData {
  readonly data: string;
  readonly json?: boolean;
}

export interface AddAccess extends OnData {
  readonly role: Role;
  /** Milliseconds from now. */
  readonly expires?: number;
}

export function addAccess(name: string, { data, role, expires, json }: AddAccess, output: Output): ExitCode {
  const expiresMs = expires === undefined ? undefined : systemClock.wallMs() + expires;
  const token = onData(data, ({ access, audit, transact }) =>
    transact(() => {
      const made = access.add(name, role, expiresMs);
      const done = { address: null, action: 'access.add', object: name, outcome: 'done' } as const;
      audit.record({ who: who(), ...done, details: { role } });
      return made;
    }),
  );
  if (json === true) output.json({ name, role, token, expires: expiresMs === undefined ? null : time(expiresMs) });
  else {
    output.line(token);
    output.problem(`Keep it now: nobody can show it again. It is a ${role}'s, called ${name}.`);
  }
  return Exit.fine;
}

export function listAccess({ data, json }: OnData, output: Output): ExitCode {
  const tokens = onData(data, ({ access }) => access.list()).map(({ name, role, createdMs, expiresMs, usedMs }) => ({
    name,
    role,
    created: time(createdMs),
    expires: expiresMs === null ? null : time(expiresMs),
    used: usedMs === null ? null : time(usedMs),
  }));
  if (json === true) output.json(tokens);
  else if (tokens.length === 0) output.line('no tokens: only this machine may read, nobody is an administrator');
  else {
    const rows = tokens.map(({ name, role, created, expires, used }) => [
      name,
      role,
      created,
      expires ?? '-',
      used ?? '-',
    ]);
    output.line(table(['name', 'role', 'made', 'expires', 'last used'], rows));
  }
  return Exit.fine;
}

export function removeAccess(name: string, { data, json }: OnData, output: Output): ExitCode {
  const removed = onData(data, ({ access, audit, transact }) =>
    transact(() => {
      if (!access.remove(name)) return false;
      audit.record({ who: who(), address: null, action: 'access.remove', object: name, outcome: 'done' });
      return true;
    }),
  );
  if (json === true) output.json({ name, removed });
  else output.line(removed ? `the token ${name} is void` : `no token is called ${name}`);
  return removed ? Exit.fine : Exit.finding;
}

export function showAudit({ data, limit, json }: OnData & { readonly limit: number }, output: Output): ExitCode {
  const entries = onData(data, ({ audit }) => audit.list(limit));
  if (json === true) output.json(entries.map(({ atMs, ...entry }) => ({ time: time(atMs), ...entry })));
  else {
    const rows = entries.map(({ atMs, who: by, address, action, object, outcome, count }) => [
      ...[time(atMs), by, address ?? 'here', action, object ?? '-', outcome],
      count > 1 ? `${count} times` : '',
    ]);
    output.line(table(['when', 'who', 'from', 'what', 'to', 'outcome', ''], rows));
  }
  return Exit.fine;
}

function onData<T>(data: string, work: (parts: CloudAccess) => T): T {
  if (!existsSync(data)) {
    // A mistyped folder would be a receiver of its own, with a token that opens nothing.
    throw new SluiceError('usage.cloud', 'stop', `there is no folder ${data}`, {
      hint: 'It is the one that the receiver has as --data; make it first if the receiver has not run yet.',
    });
  }
  becomeOwner(data);
  const parts = openAccess(data, systemClock);
  try {
    return work(parts);
  } finally {
    parts.close();
  }
}

function who(): string {
  const { username, uid } = userInfo();
  const { SUDO_USER: sudo } = process.env;
  return `${username} (uid ${uid})${sudo === undefined ? '' : `, sudo by ${sudo}`}`;
}

/** What root makes in the receiver's folder the receiver could not write. */
function becomeOwner(path: string): void {
  const { uid, gid } = statSync(path);
  if (process.geteuid?.() !== 0 || uid === 0) return;
  process.setegid?.(gid);
  process.seteuid?.(uid);
}
