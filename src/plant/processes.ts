/**
 * The plant's physics, in 100 ms steps: first-order lags towards set points that depend on what runs, with the noise of
 * real sensors. Everything follows from the seed and the number of steps; no clock is read.
 */
import type { PlainValue } from '../reading.ts';

export const STEP_MS = 100;
const STEP_S = STEP_MS / 1000;

/** Uniform in [0, 1); mulberry32: 32 bits of state are plenty for noise. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Moves towards a target, 63 % of the way in `tauS`. */
function lag(value: number, target: number, tauS: number): number {
  return value + (target - value) * (1 - Math.exp(-STEP_S / tauS));
}

/** Tags' values by name. Numbers of integer type are raw counts; a scaled tag's value is in its unit. */
export type PlantValues = Record<string, PlainValue>;

/** Beyond 2^53, where a float64 loses the last digit. */
const TOTAL_START_ML = 9_007_199_254_741_003n;
const ENERGY_START_J = 18_446_744_070_000_000_001n;
const BALANCE_START_J = -9_007_199_254_741_001n;

export class Processes {
  readonly #random: () => number;
  #boiler = { flow: 68, back: 52, pressure: 1.8, isBurning: true, starts: 70_123, gas: 48_211.25, outdoor: -3.2 };
  #pump = { flow: 0, level: 120, temp: 41, isRunning: true, switchS: 40, total: TOTAL_START_ML, runtimeS: 7_654_321 };
  #compressor = { pressure: 7.4, temp: 58, isLoaded: true, power: 0, energy: ENERGY_START_J, balance: BALANCE_START_J };
  #stepS = 0;

  constructor(seed: number) {
    this.#random = seeded(seed);
  }

  step(): void {
    this.#stepS += STEP_S;
    this.#stepBoiler();
    this.#stepPump();
    this.#stepCompressor();
  }

  values(): PlantValues {
    return { ...this.#boilerValues(), ...this.#pumpValues(), ...this.#compressorValues() };
  }

  #stepBoiler(): void {
    const boiler = this.#boiler;
    const wasBurning = boiler.isBurning;
    // Two-point control with 8 K of hysteresis.
    if (boiler.flow > 74) boiler.isBurning = false;
    if (boiler.flow < 66) boiler.isBurning = true;
    if (boiler.isBurning && !wasBurning) boiler.starts++;
    boiler.flow = lag(boiler.flow, boiler.isBurning ? 92 : 48, 60);
    boiler.back = lag(boiler.back, boiler.flow - 14, 25);
    boiler.pressure = 1.2 + boiler.flow / 100;
    boiler.gas += boiler.isBurning ? STEP_S * 0.0028 : 0;
    boiler.outdoor = -3 + 6 * Math.sin(this.#stepS / 600);
  }

  #boilerValues(): PlantValues {
    const boiler = this.#boiler;
    return {
      'boiler/flow_temp': tenths(boiler.flow + this.#noise(0.15)),
      'boiler/return_temp': tenths(boiler.back + this.#noise(0.15)),
      'boiler/pressure': Math.fround(boiler.pressure + this.#noise(0.004)),
      'boiler/power': boiler.isBurning ? tenths(72 + this.#noise(1)) : 0,
      'boiler/starts': boiler.starts,
      'boiler/gas_total': boiler.gas,
      'boiler/serial': 'SLB-2209-00417',
      'boiler/outdoor_temp': tenths(boiler.outdoor + this.#noise(0.05)),
      'boiler/burner': boiler.isBurning,
      'boiler/low_water': boiler.pressure < 1.88,
    };
  }

  #stepPump(): void {
    const pump = this.#pump;
    pump.switchS -= STEP_S;
    if (pump.switchS <= 0) {
      pump.isRunning = !pump.isRunning;
      pump.switchS = 20 + 60 * this.#random();
    }
    pump.flow = lag(pump.flow, pump.isRunning ? 42 : 0, 3);
    pump.level = lag(pump.level, pump.isRunning ? -260 : 340, 45);
    pump.temp = lag(pump.temp, pump.isRunning ? 71 : 28, 90);
    // m³/h to mL in one step.
    pump.total += BigInt(Math.round((pump.flow * 1e6 * STEP_S) / 3600));
    if (pump.isRunning) pump.runtimeS += STEP_S;
  }

  #pumpValues(): PlantValues {
    const pump = this.#pump;
    return {
      'pump/flow': Math.fround(Math.max(0, pump.flow + this.#noise(0.12))),
      'pump/total': pump.total,
      'pump/speed': pump.isRunning ? Math.round(1440 + this.#noise(6)) : 0,
      'pump/runtime': Math.floor(pump.runtimeS),
      'pump/level': Math.round(pump.level + this.#noise(2)),
      'pump/motor_temp': tenths(pump.temp + this.#noise(0.1)),
      'pump/vibration': Math.fround((pump.isRunning ? 2.4 : 0.05) * (1 + this.#noise(0.2))),
      'pump/running': pump.isRunning,
      'pump/valve_open': pump.flow > 1,
    };
  }

  #stepCompressor(): void {
    const compressor = this.#compressor;
    if (compressor.pressure > 7.9) compressor.isLoaded = false;
    if (compressor.pressure < 6.9) compressor.isLoaded = true;
    compressor.pressure += STEP_S * (compressor.isLoaded ? 0.05 : -0.035);
    compressor.temp = lag(compressor.temp, compressor.isLoaded ? 82 : 55, 70);
    // Unloaded, the running-down motor feeds a little back.
    compressor.power = Math.round((compressor.isLoaded ? 15_000 : -220) + this.#noise(40));
    const joules = BigInt(Math.round(compressor.power * STEP_S));
    compressor.balance += joules;
    if (joules > 0n) compressor.energy += joules;
  }

  #compressorValues(): PlantValues {
    const compressor = this.#compressor;
    const shaking = compressor.isLoaded ? 3.1 : 0.9;
    return {
      'compressor/vibration_x': Math.fround(shaking * (1 + this.#noise(0.3))),
      'compressor/vibration_y': Math.fround(shaking * 0.8 * (1 + this.#noise(0.3))),
      'compressor/bearing_temp': tenths(compressor.temp + this.#noise(0.1)),
      'compressor/pressure': Math.fround(compressor.pressure + this.#noise(0.01)),
      // Counters roll over.
      'compressor/energy': BigInt.asUintN(64, compressor.energy),
      'compressor/balance': compressor.balance,
      'compressor/power': compressor.power,
      'compressor/loaded': compressor.isLoaded,
      'compressor/service_due': this.#stepS > 300,
      'compressor/model': 'SLC-75/8',
      'compressor/running': true,
    };
  }

  /** Uniform in ±`amplitude`. */
  #noise(amplitude: number): number {
    return (this.#random() * 2 - 1) * amplitude;
  }
}

/** As a sensor with a resolution of 0.1 shows it, and as a client that scales its count reads it. */
function tenths(value: number): number {
  return Math.round(value * 10) / 10;
}
