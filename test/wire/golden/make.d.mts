export const tagContent: string;
export const deviceSeed: Uint8Array;
export const recipientSecret: Uint8Array;
export const answerSeed: Uint8Array;
export const device: Uint8Array;
export const nonce: Uint8Array;
export function openIndependently(bytes: Uint8Array): Uint8Array;
