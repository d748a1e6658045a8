/** Tokens and audit log of a receiver's data, beside the receiver or without it: SQLite lets both write, one after the other. */
import type { Clock } from '../../runtime/clock.ts';
import { Audit } from '../audit.ts';
import { openDatabase } from '../database.ts';
import { AccessTokens } from './tokens.ts';

export interface CloudAccess {
  readonly access: AccessTokens;
  readonly audit: Audit;
  /** Both or neither. */
  transact<T>(work: () => T): T;
  close(): void;
}

/** @throws cloud.data_unusable, cloud.schema_newer */
export function openAccess(dataDir: string, clock: Clock): CloudAccess {
  const db = openDatabase(dataDir);
  return {
    access: new AccessTokens(db, clock),
    audit: new Audit(db, clock),
    transact: (work) => db.transaction(work).immediate(),
    close: () => db.close(),
  };
}
