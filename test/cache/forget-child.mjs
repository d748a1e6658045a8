// Opens a cache, as the gateway does, and stays until it is killed; says when something was forgotten.

// Not a plain import: the type checker would follow it into the built code.
const built = (/** @type {string} */ path) => import(new URL(`../../dist/src/${path}`, import.meta.url).href);
const { openCache } = await built('cache/open-cache.js');
const { cacheSchema } = await built('config/cache.js');

const [path] = process.argv.slice(2);
// What the test wrote is from another year, and must not age.
await openCache(cacheSchema.parse({ path, ageMax: '10000d', windowsAgeMax: '10000d' }), {
  version: '0.0.0',
  targets: [{ name: 'cloud', required: true }],
  onForgotten: () => process.stdout.write('forgotten\n'),
});
process.stdout.write('open\n');
