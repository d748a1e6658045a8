// Writes readings with ascending values until it is killed; says on standard output which are committed.
// Imports nothing but the cache, so that it is at work as soon as a kill can be.

// Not a plain import: the type checker would follow it into the built code.
const built = (/** @type {string} */ path) => import(new URL(`../../dist/src/${path}`, import.meta.url).href);
const { openCache } = await built('cache/open-cache.js');
const { cacheSchema } = await built('config/cache.js');

const [path, first = '0', more = '{}'] = process.argv.slice(2);
const settings = { path, commitInterval: '20ms', checkpointInterval: '1s', ...JSON.parse(more) };
const cache = await openCache(cacheSchema.parse(settings), {
  version: '0.0.0',
  targets: [{ name: 'cloud', required: true }],
});
cache.failed.catch((/** @type {Error} */ error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(3);
});
for (let index = 0; index < 4; index++) {
  const definition = { name: `plc/tag${index}`, type: 'float64' };
  cache.registerTag({ index, source: 'plc', definition, fields: { priority: 'normal' }, periodMs: 1000 });
}
const ROWS = 40;
for (let value = Number(first); ; value += ROWS) {
  cache.append({
    chunk: {
      length: ROWS,
      tag: Uint32Array.from({ length: ROWS }, (_, i) => i % 4),
      timeMs: Float64Array.from({ length: ROWS }, (_, i) => 1_780_000_000_000 + value + i),
      value: Float64Array.from({ length: ROWS }, (_, i) => value + i),
      quality: new Uint8Array(ROWS),
      texts: [],
    },
    counts: [{ source: 'plc', received: ROWS, rejected: 0, duplicate: 0, thinned: 0 }],
  });
  await cache.committed();
  process.stdout.write(`${value + ROWS}\n`);
}
