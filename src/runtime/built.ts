/**
 * Worker threads and child processes run the built JavaScript, also when the code that starts them runs from its TypeScript
 * source, as tests do: `<root>/src/x/y.ts` then stands for `<root>/dist/src/x/y.js`.
 */
import { fileURLToPath } from 'node:url';

/** @param from `import.meta.url` of the caller. @param relative of the built file, such as `./worker.js`. */
export function builtFile(from: string, relative: string): string {
  const file = fileURLToPath(new URL(relative, from));
  return from.endsWith('.ts') ? file.replace(/\/(src|drivers)\/(?!.*\/(?:src|drivers)\/)/, '/dist/$1/') : file;
}
