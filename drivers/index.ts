/** Every driver: a folder beside this file and a line here. */
import type { Driver } from '../src/driver.ts';
import { modbus } from './modbus/index.ts';
import { mqtt } from './mqtt/index.ts';
import { simulator } from './simulator/index.ts';

export const drivers: readonly Driver[] = [modbus, mqtt, simulator];

export function driverNamed(name: string): Driver | undefined {
  return drivers.find((driver) => driver.name === name);
}
