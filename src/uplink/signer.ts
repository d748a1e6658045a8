/** The key that signs what this gateway sends. It changes while the gateway runs when `sluice keygen --rotate` has replaced its file. */
import { describe } from '../errors.ts';
import type { Clock, Timer } from '../runtime/clock.ts';
import { hex, sameBytes } from '../wire/bytes.ts';
import type { DeviceKey } from '../wire/keys.ts';
import type { UplinkLogger } from './types.ts';

/** Looking costs one system call. */
const LOOK_MS = 5000;

export interface SignerOptions {
  readonly key: DeviceKey;
  /** The key in its file, where that changed since the last look. Throws when it cannot be used. */
  readonly changed: (() => DeviceKey | undefined) | undefined;
  readonly clock: Clock;
  readonly logger: UplinkLogger;
  readonly onChange: (key: DeviceKey) => void;
}

export class Signer {
  readonly #options: SignerOptions;
  #key: DeviceKey;
  #hasChanged = false;
  #timer: Timer | undefined;

  constructor(options: SignerOptions) {
    this.#options = options;
    this.#key = options.key;
  }

  get key(): DeviceKey {
    return this.#key;
  }

  /** Whether batches may be about that another key of ours signed. */
  get hasChanged(): boolean {
    return this.#hasChanged;
  }

  start(): void {
    if (this.#options.changed === undefined) return;
    this.#timer = this.#options.clock.after(LOOK_MS, () => {
      this.look();
      this.start();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }

  look(): void {
    const { changed, logger, onChange } = this.#options;
    let next: DeviceKey | undefined;
    try {
      next = changed?.();
    } catch (error) {
      logger.error(
        { error: describe(error) },
        'uplink: the device key file changed and cannot be used; the old key goes on',
      );
      return;
    }
    if (next === undefined || sameBytes(next.kid, this.#key.kid)) return;
    if (!sameBytes(next.device, this.#key.device)) {
      // Rows are numbered under the device's id: another one begins with a start of its own.
      logger.error(
        { device: hex(next.device) },
        'uplink: the device key file is that of another device; restart to use it',
      );
      return;
    }
    this.#key = next;
    this.#hasChanged = true;
    logger.info({ kid: hex(next.kid) }, 'uplink: signing with the new device key');
    onChange(next);
  }
}
