/** From settings to the plan: tags by unit and period, and everything that only shows when settings meet. */
import type { GroupPlan, TagPlan } from '../../src/driver.ts';
import { SluiceError } from '../../src/errors.ts';
import type { ValueType } from '../../src/reading.ts';
import { ADDRESS_MAX, isBitTable, showRegister } from './address.ts';
import type { ModbusConfig, TagConfig, UnitConfig } from './config.ts';
import type { ModbusAddress } from './decode.ts';
import { isOrder64 } from './order.ts';
import { scalingOf } from './scaling.ts';

type ModbusTag = TagPlan<ModbusAddress>;

/** One read of everything must fit one chunk, which the runner takes after it. */
const TAGS_MAX = 65_536;

const REGISTERS: Readonly<Record<Exclude<ValueType, 'text'>, number>> = {
  bool: 1,
  int16: 1,
  uint16: 1,
  int32: 2,
  uint32: 2,
  float32: 2,
  int64: 4,
  uint64: 4,
  float64: 4,
};

/** @throws `config.modbus` naming the tag. */
export function planGroups(config: ModbusConfig): GroupPlan<ModbusAddress>[] {
  const groups = new Map<string, { unit: string; everyMs: number; tags: ModbusTag[] }>();
  const names = new Set<string>();
  for (const unit of config.units) {
    for (const tag of unit.tags) {
      if (names.has(tag.name)) throw finding(tag, 'is there twice; a name is unique within its source');
      names.add(tag.name);
      const everyMs = tag.every ?? unit.every;
      const key = `${unit.unit} ${everyMs}`;
      const group = groups.get(key) ?? { unit: `unit ${unit.unit}`, everyMs, tags: [] };
      groups.set(key, group);
      group.tags.push(planTag(tag, unit, config));
    }
  }
  if (names.size > TAGS_MAX) {
    throw new SluiceError(
      'config.modbus',
      'stop',
      `${names.size} tags are more than the ${TAGS_MAX} a source may have`,
      {
        hint: 'Split the tags over several sources; they share the connection.',
      },
    );
  }
  return [...groups.values()];
}

function planTag(tag: TagConfig, unit: UnitConfig, config: ModbusConfig): ModbusTag {
  const { name, register, type, order, scale, offset, bit, length, every, ...fields } = tag;
  const onBits = isBitTable(register.table);
  const wireType = type ?? (onBits || bit !== undefined ? 'bool' : 'uint16');
  const scaled = scale !== undefined || offset !== undefined;
  checkType(tag, wireType, scaled);
  const count = wireType === 'text' ? (length ?? 0) : onBits ? 1 : REGISTERS[wireType];
  checkRange(tag, count, config);
  const effectiveOrder = order ?? unit.order;
  if (isOrder64(effectiveOrder) && count * 2 !== effectiveOrder.length) {
    throw finding(
      tag,
      `has order ${effectiveOrder}, which is for 64-bit types; ${wireType} takes ABCD, CDAB, BADC, DCBA`,
    );
  }
  return {
    name,
    type: scaled ? 'float64' : wireType,
    ...(fields.unit === undefined ? {} : { unit: fields.unit }),
    ...(fields.description === undefined ? {} : { description: fields.description }),
    ...(fields.location === undefined ? {} : { location: fields.location }),
    ...(fields.deviceType === undefined ? {} : { deviceType: fields.deviceType }),
    fields,
    address: {
      ...register,
      count,
      unit: unit.unit,
      wireType,
      order: effectiveOrder,
      ...(bit === undefined ? {} : { bit }),
      ...(scaled ? { scaling: scalingOf(scale ?? 1, offset ?? 0) } : {}),
    },
  };
}

function checkType(tag: TagConfig, type: ValueType, scaled: boolean): void {
  const onBits = isBitTable(tag.register.table);
  if (onBits && type !== 'bool') throw finding(tag, `has type ${type}, but one bit is a bool`);
  if (onBits && tag.bit !== undefined) throw finding(tag, 'has a bit, but its table holds single bits already');
  if (onBits && tag.order !== undefined) throw finding(tag, 'has a byte order, but its table holds single bits');
  if (tag.bit !== undefined && type !== 'bool') throw finding(tag, `has a bit, so its type is bool and not ${type}`);
  if (type === 'text' && tag.length === undefined) throw finding(tag, 'is text and needs its length in registers');
  if (type !== 'text' && tag.length !== undefined) throw finding(tag, `has a length, which only text has, not ${type}`);
  if (!scaled) return;
  if (type === 'bool' || type === 'text') throw finding(tag, `is ${type}, which cannot have a scale or offset`);
  if (type === 'int64' || type === 'uint64') {
    throw finding(
      tag,
      `is ${type} with a scale or offset: as a float64 it would lose digits past 2^53; scale it where it is shown`,
    );
  }
}

function checkRange(tag: TagConfig, count: number, config: ModbusConfig): void {
  const last = tag.register.address + count - 1;
  if (last > ADDRESS_MAX) throw finding(tag, `ends at register ${last}; the last one is ${ADDRESS_MAX}`);
  if (!isBitTable(tag.register.table) && count > config.wordsMax) {
    throw finding(tag, `takes ${count} registers, more than one read may hold (wordsMax ${config.wordsMax})`);
  }
}

function finding(tag: TagConfig, what: string): SluiceError {
  return new SluiceError('config.modbus', 'stop', `tag ${tag.name} (${showRegister(tag.register)}) ${what}`, {
    hint: `Correct the tag ${tag.name} in the configuration.`,
    facts: { tag: tag.name },
  });
}
