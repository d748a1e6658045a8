// `npm start -- …` = set-up, then `sluice demo …` in this same process, so that Ctrl-C reaches it once and directly.
import { join } from 'node:path';
import { root, setupOrExit } from './setup.mjs';

await setupOrExit();
process.setSourceMapsEnabled(true);
const main = join(root, 'dist/src/cli/main.js');
process.argv.splice(1, 1, main, 'demo');
await import(main);
