// `npm test -- …` and `npm run test:peers -- …`: set-up, then Jest with the rest of the arguments.
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { root, setupOrExit } from './setup.mjs';

const [kind, ...args] = process.argv.slice(2);
await setupOrExit(); // worker threads and child processes run dist/

const config = kind === 'peers' ? 'jest.peers.config.mjs' : 'jest.config.mjs';
const jest = spawn(process.execPath, [join(root, 'node_modules/jest/bin/jest.js'), '--config', config, ...args], {
  cwd: root,
  stdio: 'inherit',
  // Jest loads ES modules through node:vm, still behind a flag.
  env: {
    ...process.env,
    NODE_OPTIONS: `${process.env.NODE_OPTIONS ?? ''} --experimental-vm-modules --disable-warning=ExperimentalWarning`,
  },
});
process.on('SIGINT', () => {}); // the terminal sends it to Jest as well; leave with its exit code
jest.on('exit', (code) => process.exit(code ?? 1));
