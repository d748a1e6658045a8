// Finds Node's C++ headers for node-gyp, whose own download from nodejs.org is not reachable everywhere.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Addons built with the headers of 24.19 and later can abort at exit (nodejs/node#65446); those built with 24.18.1
 * run on all of 24.
 * @param {string} nodeVersion
 */
export function headersVersion(nodeVersion) {
  const [major = 0, minor = 0] = nodeVersion.split('.').map(Number);
  return major === 24 && minor >= 19 ? '24.18.1' : nodeVersion;
}

/**
 * True when `folder` holds the headers of exactly this version, as node-gyp wants them in `nodedir`.
 * @param {string} folder
 * @param {string} version
 */
export function holdsHeaders(folder, version) {
  const include = join(folder, 'include/node');
  if (!existsSync(join(include, 'common.gypi')) || !existsSync(join(include, 'node_version.h'))) return false;
  const text = readFileSync(join(include, 'node_version.h'), 'utf8');
  const part = (/** @type {string} */ name) => text.match(new RegExp(`#define NODE_${name}_VERSION (\\d+)`))?.[1];
  return `${part('MAJOR')}.${part('MINOR')}.${part('PATCH')}` === version;
}

/**
 * A folder for node-gyp's `nodedir`, or undefined to let node-gyp help itself.
 * @param {string} root
 * @param {(line: string) => void} say
 */
export function headersFolder(root, say) {
  const version = headersVersion(process.versions.node);
  // Not inside node_modules: `npm ci` empties it, and builds with these headers afterwards.
  const cached = join(root, '.cache', `node-headers-${version}`);
  const prefix = join(dirname(realpathSync(process.execPath)), '..');
  const found = [prefix, '/usr', cached].find((folder) => holdsHeaders(folder, version));
  if (found || process.platform !== 'linux') return found;
  // The headers are the same for every processor; the x64 package is published for every release.
  for (const arch of new Set([process.arch, 'x64'])) {
    if (fetchHeaders(`node-linux-${arch}@${version}`, cached)) return cached;
  }
  say(`No headers of Node ${version} here or in the registry; node-gyp will try nodejs.org.`);
  return undefined;
}

/**
 * @param {string} npmPackage
 * @param {string} folder
 */
function fetchHeaders(npmPackage, folder) {
  const partial = `${folder}.partial`;
  rmSync(partial, { recursive: true, force: true });
  mkdirSync(partial, { recursive: true });
  try {
    const pack = ['pack', npmPackage, '--silent', '--pack-destination', partial];
    const name = execFileSync('npm', pack, { cwd: partial, encoding: 'utf8' }).trim();
    execFileSync('tar', ['-xzf', name, '--strip-components=1', 'package/include'], { cwd: partial });
    rmSync(join(partial, name));
  } catch {
    rmSync(partial, { recursive: true });
    return false; // not published, or no registry: npm ci will say so
  }
  rmSync(folder, { recursive: true, force: true });
  renameSync(partial, folder);
  return true;
}
