/** Priority classes and lanes. Their positions are on disk and on the wire: appended to, never reordered. */
export const CLASSES = ['alarm', 'control', 'aggregate', 'normal', 'low'] as const;
export type ClassName = (typeof CLASSES)[number];
export type ClassNumber = 0 | 1 | 2 | 3 | 4;
export const CLASS_NUMBERS: readonly ClassNumber[] = [0, 1, 2, 3, 4];

export const CLASS = { alarm: 0, control: 1, aggregate: 2, normal: 3, low: 4 } as const satisfies Record<
  ClassName,
  ClassNumber
>;

/** Queues of different urgency to the same cloud; no protocol. */
export const LANES = ['alarm', 'live', 'backlog'] as const;
export type Lane = (typeof LANES)[number];

export function isClassNumber(value: unknown): value is ClassNumber {
  return value === 0 || value === 1 || value === 2 || value === 3 || value === 4;
}

/** Rows of these classes are readings (columns); the others are records. Only readings are in the ledger. */
export function holdsReadings(number: ClassNumber): boolean {
  return number === CLASS.normal || number === CLASS.low;
}

/** Rows that may be written off when the cloud will not have them: what they say is of the past. Alarms and control rows wait. */
export function isRefusable(number: ClassNumber): boolean {
  return holdsReadings(number) || number === CLASS.aggregate;
}
