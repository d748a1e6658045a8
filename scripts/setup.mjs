// Installs and builds what is missing, so that `npm start` and `npm test` work on a fresh clone and are quick after
// that. Node built-ins only: it runs before anything is installed. Speaks on stderr; stdout belongs to the command.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { headersFolder } from './headers.mjs';

export const root = fileURLToPath(new URL('..', import.meta.url));

const NODE_OLDEST = [20, 19];
const LOCK_RETRY_MS = 200;
const COMPILED_FOLDERS = ['src', 'drivers', 'bench'];
/** Addons that npm compiles here. serialport ships its binary in its package. */
const ADDONS = ['better-sqlite3', 'zlib-sync'];

class SetupError extends Error {}

/** @param {{ build?: boolean }} [options] */
export async function setup({ build: wanted = true } = {}) {
  requireNode(process.versions.node);
  const ready = () => installed(root) && addonsLoad() && (!wanted || built());
  if (ready()) return;
  const unlock = await lock();
  try {
    if (!installed(root)) install();
    else if (!addonsLoad()) rebuildAddons();
    if (wanted && !built()) build();
  } finally {
    unlock();
  }
}

/** @param {string} version */
export function requireNode(version) {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor = 0, oldestMinor = 0] = NODE_OLDEST;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return;
  throw new SetupError(`Sluice needs Node.js ${NODE_OLDEST.join('.')} or newer; this is ${version}.`);
}

/**
 * True when node_modules holds what package-lock.json asks for, by npm's own record of what it installed.
 * @param {string} folder
 */
export function installed(folder) {
  const record = join(folder, 'node_modules/.package-lock.json');
  if (!existsSync(record)) return false;
  const wanted = Object.entries(readJson(join(folder, 'package-lock.json')).packages);
  const found = readJson(record).packages;
  return wanted.every(([path, { version, optional }]) => {
    if (path === '') return true; // the project itself
    return found[path] ? found[path].version === version : optional; // optional: made for another platform
  });
}

/** False after a change of Node's major version, or an install that skipped the compiler. */
function addonsLoad() {
  const require = createRequire(join(root, 'package.json'));
  try {
    for (const addon of ADDONS) require(addon);
    new (require('better-sqlite3'))(':memory:').close(); // loads its binary only now
    return true;
  } catch {
    return false;
  }
}

function install() {
  say('Installing packages and compiling SQLite; the first time takes about two minutes …');
  npm('ci', '--include=dev'); // the compiler is a dev dependency, and NODE_ENV=production would leave it out
  if (!addonsLoad()) rebuildAddons();
}

function rebuildAddons() {
  say(`Compiling ${ADDONS.join(' and ')} for Node ${process.versions.node} …`);
  npm('rebuild', ...ADDONS);
  if (!addonsLoad()) throw new SetupError(`${ADDONS.join(' or ')} does not load. Delete node_modules and try again.`);
}

/** @param {string[]} args */
function npm(...args) {
  const env = { ...process.env };
  // The same binary everywhere, and no waiting for a download that many plants cannot reach.
  env.npm_config_build_from_source = 'better-sqlite3';
  const headers = headersFolder(root, say);
  if (headers) env.npm_config_nodedir = headers; // without it node-gyp downloads them from nodejs.org
  // npm's stdout goes to stderr too.
  const result = spawnSync('npm', [...args, '--loglevel=error'], { cwd: root, env, stdio: ['ignore', 2, 2] });
  if (result.status === 0) return;
  throw new SetupError(
    `npm ${args[0]} failed${result.error ? `: ${result.error.message}` : ', see above'}.\n` +
      'It needs a package registry, and python3, make and g++ to compile the native addons. On Debian:\n' +
      '  apt-get install -y --no-install-recommends npm python3 make g++',
  );
}

const stampFile = join(root, 'dist/.sources.json');

/** Every file the build reads, with size and time: what a fresh dist/ was made of. */
function sources() {
  const files = ['package-lock.json', 'tsconfig.json', 'tsconfig.build.json'].map((name) => join(root, name));
  for (const folder of COMPILED_FOLDERS) files.push(...filesIn(join(root, folder)));
  return Object.fromEntries(
    files.map((file) => {
      const { size, mtimeMs } = statSync(file);
      return [relative(root, file), `${size} ${mtimeMs}`];
    }),
  );
}

/** @param {string} folder */
function filesIn(folder) {
  if (!existsSync(folder)) return [];
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
}

function built() {
  return existsSync(stampFile) && readFileSync(stampFile, 'utf8') === JSON.stringify(sources());
}

function build() {
  const now = sources(); // before the compiler reads them: a file saved meanwhile is built next time
  const before = existsSync(stampFile) ? readJson(stampFile) : {};
  // The compiler never deletes, and a module that is gone must not go on working.
  if (Object.keys(before).some((file) => !(file in now))) rmSync(join(root, 'dist'), { recursive: true });
  const tsc = [join(root, 'node_modules/typescript/bin/tsc'), '--project', 'tsconfig.build.json'];
  const result = spawnSync(process.execPath, tsc, { cwd: root, stdio: ['ignore', 2, 2] });
  if (result.status !== 0) throw new SetupError('The build failed, see above.');
  copyAssets(Object.keys(now));
  writeFileSync(stampFile, JSON.stringify(now));
}

/**
 * What runs beside the code (device profiles, console pages) goes to dist/ as it is.
 * @param {string[]} files
 */
function copyAssets(files) {
  for (const file of files) {
    if (/\.(ts|md)$/.test(file) || !COMPILED_FOLDERS.some((folder) => file.startsWith(`${folder}/`))) continue;
    cpSync(join(root, file), join(root, 'dist', file));
  }
}

/**
 * One set-up at a time in a checkout; the others wait. The lock is an abstract socket: the kernel drops it with its
 * holder, however that one ends. Only Linux has them.
 */
async function lock() {
  if (process.platform !== 'linux') return () => {};
  const name = `\0sluice-setup-${createHash('sha256').update(root).digest('hex')}`;
  for (let tries = 0; ; tries++) {
    const server = createServer().listen(name);
    try {
      await once(server, 'listening');
      return () => server.close();
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EADDRINUSE') throw error;
      if (tries === 0) say('Another set-up is at work here, waiting for it …');
      await sleep(LOCK_RETRY_MS);
    }
  }
}

/** @param {string} file */
function readJson(file) {
  return JSON.parse(readFileSync(file, 'utf8'));
}

/** @param {string} line */
function say(line) {
  process.stderr.write(`${line}\n`);
}

/**
 * For the scripts that start with a set-up: a failure is a message, not a stack.
 * @param {{ build?: boolean }} [options]
 */
export async function setupOrExit(options) {
  try {
    await setup(options);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(`\n${error.message}`);
    process.exit(1);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await setupOrExit({ build: !process.argv.includes('--install-only') });
}
