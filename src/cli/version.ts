import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { builtFile } from '../runtime/built.ts';

/** Of the package, from its manifest beside dist/. */
export function version(): string {
  const folder = join(builtFile(import.meta.url, '.'), '../../..');
  const manifest: unknown = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  return String((manifest as { version?: unknown }).version);
}
