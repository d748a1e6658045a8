/**
 * What the simulated plant has: one table that its Modbus server, its oracle and the demo's configuration agree on. Three
 * units, each with a byte order of its own, and among them every type that Modbus devices have.
 */
import type { ValueType } from '../reading.ts';

export type PlantOrder = 'ABCD' | 'CDAB' | 'DCBA';

export const PLANT_UNITS = [
  { unit: 1, order: 'ABCD', what: 'boiler' },
  { unit: 2, order: 'CDAB', what: 'pumping station' },
  { unit: 3, order: 'DCBA', what: 'compressor' },
] as const satisfies readonly { unit: number; order: PlantOrder; what: string }[];

export interface PlantTag {
  /** Modbus unit id. */
  readonly unit: number;
  /** Unique in the whole plant. */
  readonly name: string;
  /** Table and protocol address, `holding:0`. */
  readonly register: string;
  /** On the wire; with a scale the reading is a float64. */
  readonly type: ValueType;
  readonly order: PlantOrder;
  readonly scale?: number;
  /** Bit of the register, 0 the least significant. */
  readonly bit?: number;
  /** Registers of a text. */
  readonly length?: number;
  /** Engineering unit. */
  readonly unitText?: string;
}

type Row = readonly [
  name: string,
  register: string,
  type: ValueType,
  rest?: Pick<PlantTag, 'scale' | 'bit' | 'length' | 'unitText'>,
];

const TENTHS = 0.1;

const ROWS: Readonly<Record<(typeof PLANT_UNITS)[number]['unit'], readonly Row[]>> = {
  1: [
    ['boiler/flow_temp', 'holding:0', 'int16', { scale: TENTHS, unitText: '°C' }],
    ['boiler/return_temp', 'holding:1', 'int16', { scale: TENTHS, unitText: '°C' }],
    ['boiler/pressure', 'holding:2', 'float32', { unitText: 'bar' }],
    ['boiler/power', 'holding:4', 'uint16', { scale: TENTHS, unitText: '%' }],
    ['boiler/starts', 'holding:5', 'uint32'],
    ['boiler/gas_total', 'holding:8', 'float64', { unitText: 'm³' }],
    ['boiler/serial', 'holding:20', 'text', { length: 8 }],
    ['boiler/outdoor_temp', 'input:0', 'int16', { scale: TENTHS, unitText: '°C' }],
    ['boiler/burner', 'coil:0', 'bool'],
    ['boiler/low_water', 'discrete:0', 'bool'],
  ],
  2: [
    ['pump/flow', 'holding:0', 'float32', { unitText: 'm³/h' }],
    ['pump/total', 'holding:2', 'uint64', { unitText: 'mL' }],
    ['pump/speed', 'holding:6', 'uint16', { unitText: 'rpm' }],
    ['pump/runtime', 'holding:7', 'uint32', { unitText: 's' }],
    ['pump/level', 'holding:9', 'int16', { unitText: 'mm' }],
    ['pump/motor_temp', 'input:0', 'int16', { scale: TENTHS, unitText: '°C' }],
    ['pump/vibration', 'input:1', 'float32', { unitText: 'mm/s' }],
    ['pump/running', 'coil:0', 'bool'],
    ['pump/valve_open', 'coil:1', 'bool'],
  ],
  3: [
    ['compressor/vibration_x', 'input:0', 'float32', { unitText: 'mm/s' }],
    ['compressor/vibration_y', 'input:2', 'float32', { unitText: 'mm/s' }],
    ['compressor/bearing_temp', 'input:4', 'int16', { scale: TENTHS, unitText: '°C' }],
    ['compressor/pressure', 'holding:0', 'float32', { unitText: 'bar' }],
    ['compressor/energy', 'holding:2', 'uint64', { unitText: 'J' }],
    ['compressor/balance', 'holding:6', 'int64', { unitText: 'J' }],
    ['compressor/power', 'holding:10', 'int32', { unitText: 'W' }],
    ['compressor/loaded', 'holding:12', 'bool', { bit: 0 }],
    ['compressor/service_due', 'holding:12', 'bool', { bit: 4 }],
    ['compressor/model', 'holding:14', 'text', { length: 6 }],
    ['compressor/running', 'coil:0', 'bool'],
  ],
};

export const PLANT_TAGS: readonly PlantTag[] = PLANT_UNITS.flatMap(({ unit, order }) =>
  ROWS[unit].map(([name, register, type, rest]) => ({ unit, name, register, type, order, ...rest })),
);
