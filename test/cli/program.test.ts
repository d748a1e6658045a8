// What the command line takes, and what its exit codes mean.
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { gatewayConfig, Place, sluice, sluiceJson } from './rig.ts';

const COMMANDS = ['run', 'demo', 'plant', 'cloud', 'keygen', 'check', 'status', 'tail', 'query', 'ledger'];

describe('the command line', () => {
  test('lists every command in its help, and its version', async () => {
    const { code, out } = await sluice('--help');
    expect(code).toBe(0);
    for (const command of COMMANDS) expect(out).toMatch(new RegExp(`^  ${command} `, 'm'));
    const version = await sluice('--version');
    expect(version.code).toBe(0);
    expect(version.out).toMatch(/^\d+\.\d+\.\d+/);
  });

  test.each(COMMANDS)('explains %s', async (command) => {
    const { code, out } = await sluice(command, '--help');
    expect(code).toBe(0);
    expect(out).toMatch(new RegExp(`^Usage: sluice ${command}`));
  });

  test.each([
    [['chek'], /Did you mean check\?/],
    [['status', '--jsno'], /Did you mean --json\?/],
    [['fly'], /unknown command/],
    [['ledger', '--fly'], /unknown option/],
    [['query'], /missing required argument 'tag'/],
    [['cloud', '--data', 'x'], /--keys/],
    [['tail', '-n', '0'], /whole number/],
    [['plant', '--modbus-port', '70000'], /port/],
    [['query', 'x', '--window', 'soon'], /duration/],
    [['query', 'x', '--from', 'soon'], /soon is no time/],
  ])('refuses %j with 2 and says what was meant', async (args, why) => {
    const { code, problems } = await sluice(...args);
    expect(code).toBe(2);
    expect(problems).toMatch(why);
  });
});

describe('check', () => {
  let place: Place;
  beforeEach(() => {
    place = new Place();
  });
  afterEach(() => place.remove());

  test('says what a good configuration would start', async () => {
    const config = place.file('sluice.yaml', gatewayConfig('./cache'));
    const { code, out, problems } = await sluice('check', '-c', config);
    expect({ code, problems }).toEqual({ code: 0, problems: '' });
    expect(out).toMatch(/gateway box, 1 sources/);
    expect(out).toMatch(/made {2}simulator/);
    expect(await sluiceJson('check', '-c', config)).toMatchObject({
      code: 0,
      facts: { ok: true, gateway: 'box', sources: [{ source: 'made', driver: 'simulator', tags: 1 }], uplink: null },
    });
  });

  test('finds every fault with its place and what was probably meant', async () => {
    const text = gatewayConfig('./cache').replace('driver: simulator', 'driver: simulatr').replace('path:', 'pth:');
    const config = place.file('sluice.yaml', text);
    const { code, problems } = await sluice('check', '-c', config);
    expect(code).toBe(2);
    expect(problems).toMatch(/sluice\.yaml:3:3: cache\.pth \("\.\/cache"\) is not a setting; did you mean path\?/);
    expect(problems).toMatch(/sluice\.yaml:6:13: sources\.made\.driver .*did you mean simulator\?/);
    expect(problems).toMatch(/faults; nothing was started$/);
    const json = await sluiceJson('check', '-c', config);
    expect(json).toMatchObject({ code: 2, facts: { ok: false } });
    expect((json.facts as { findings: unknown[] }).findings).toContainEqual(
      expect.objectContaining({ path: 'cache.pth', line: 3, column: 3, near: 'path' }),
    );
  });

  test('says of a file that is not there that it cannot be read', async () => {
    const { code, problems } = await sluice('check', '-c', `${place.path}/none.yaml`);
    expect(code).toBe(2);
    expect(problems).toMatch(/cannot be read \(ENOENT\)/);
  });

  test('prints the schema for editors', async () => {
    const { code, out } = await sluice('check', '--schema');
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ type: 'object' });
  });
});
