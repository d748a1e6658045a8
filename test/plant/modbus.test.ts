import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { type ModbusPlant, startModbusPlant } from '../../src/plant/modbus.ts';
import { PLANT_TAGS, PLANT_UNITS, PlantModel } from '../../src/plant/model.ts';
import { openModbus } from '../drivers/modbus/source.ts';

let model: PlantModel;
let plant: ModbusPlant;
beforeEach(async () => {
  model = new PlantModel({ seed: 5 });
  plant = await startModbusPlant({ host: '127.0.0.1', port: 0, model });
});
afterEach(() => plant.close());

const source = (units: readonly unknown[]) => ({ transport: `tcp://127.0.0.1:${plant.port}`, timeout: '500ms', units });
const everything = () =>
  source(
    PLANT_UNITS.map(({ unit, order }) => ({
      unit,
      order,
      tags: PLANT_TAGS.filter((tag) => tag.unit === unit).map(({ unit: _unit, order: _order, unitText, ...tag }) => ({
        ...tag,
        ...(unitText === undefined ? {} : { unit: unitText }),
      })),
    })),
  );

describe("the simulated plant's Modbus server", () => {
  test('shows the driver exactly what the model holds, in all types and three word orders', async () => {
    const { session, read } = await openModbus(everything());
    for (let step = 1; step <= 20; step++) {
      model.step(step * 100);
      const { tags, faults } = await read();
      expect(faults).toEqual([]);
      for (const { unit, name } of PLANT_TAGS) {
        expect([name, tags.get(name)?.value]).toEqual([name, normal(model.value(unit, name))]);
        expect(model.held(unit, name, tags.get(name)?.value ?? null, step * 100, step * 100)).toBe(true);
      }
    }
    await session.close();
  });

  test('answers for a unit it does not have as a gateway does, and refuses registers it does not have', async () => {
    const { session, read } = await openModbus(
      source([
        { unit: 9, tags: [{ name: 'nobody', register: 'holding:0' }] },
        {
          unit: 1,
          tags: [
            { name: 'beyond', register: 'input:4000' },
            { name: 'there', register: 'input:0' },
          ],
        },
      ]),
    );
    const { tags, faults } = await read();
    expect(tags.get('nobody')).toMatchObject({ quality: 'bad', reason: 'comm_error' });
    expect(tags.get('beyond')).toMatchObject({ quality: 'bad', reason: 'device_exception' });
    expect(tags.get('there')?.quality).toBe('good');
    expect(faults.map(({ unitDown, error }) => [unitDown, error.facts.code])).toEqual([
      [true, 11],
      [false, 2],
    ]);
    await session.close();
  });

  test('says when its port is taken', async () => {
    const second = startModbusPlant({ host: '127.0.0.1', port: plant.port, model });
    await expect(second).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });
});

/** There is no −0 in a register. */
function normal(value: unknown): unknown {
  return value === 0 ? 0 : value;
}
