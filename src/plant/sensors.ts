/** The plant's climate sensors, which tell over MQTT: each reading follows from the sensor's number and its sequence number. */
export const SENSOR_COUNT = 10;
/** Readings of one slow swing; at one a second ten minutes. */
const SWING_READINGS = 600;

export interface SensorReading {
  /** °C, resolution 0.1. */
  readonly t: number;
  /** % relative humidity, resolution 0.1. */
  readonly h: number;
  /** hPa, resolution 0.1. */
  readonly p: number;
  /** 0, 1, 2 … for each sensor. */
  readonly seq: number;
}

/** Pure, so whoever holds a reading can tell whether it is what the sensor said. */
export function sensorReading(sensor: number, seq: number): SensorReading {
  const swing = Math.sin((2 * Math.PI * seq) / SWING_READINGS + sensor);
  return {
    t: tenths(19 + sensor * 0.7 + 2.5 * swing + noise(sensor, seq, 1) * 0.3),
    h: tenths(45 + sensor - 8 * swing + noise(sensor, seq, 2) * 0.6),
    p: tenths(1013 + sensor * 0.1 + 3 * Math.sin(seq / SWING_READINGS) + noise(sensor, seq, 3) * 0.2),
    seq,
  };
}

/** What the sensor publishes. @param timeMs when it measured, milliseconds since 1970. */
export function sensorMessage(sensor: number, seq: number, timeMs: number): string {
  return JSON.stringify({ ts: timeMs, ...sensorReading(sensor, seq) });
}

/** In [−1, 1), the same for the same three numbers. */
function noise(sensor: number, seq: number, channel: number): number {
  let mixed = Math.imul(seq + 1, 0x9e3779b1) ^ Math.imul(sensor * 4 + channel, 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 15), 0x2c1b3c6d);
  mixed = Math.imul(mixed ^ (mixed >>> 12), 0x297a2d39);
  return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 31 - 1;
}

function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}
