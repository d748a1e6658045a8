/** The demo's figures, from what gateway and cloud say of themselves over HTTP. */

/** One look at both ends. */
export interface Look {
  readonly atMs: number;
  readonly accepted: number;
  readonly delivered: number;
  readonly pending: number;
  readonly writtenOff: number;
  readonly rejected: number;
  readonly bytesSent: number;
  readonly readingsSent: number;
  readonly freshnessMs: number | undefined;
  readonly alarms: number;
  readonly sources: readonly { readonly source: string; readonly state: string }[];
  readonly cloudUp: boolean;
}

export interface Figures extends Look {
  /** Over the last looks. */
  readonly readingsPerSecond: number;
  readonly bytesPerReading: number | undefined;
}

/** Rates are means over this many looks: one a second, steady enough to read. */
const LOOKS_KEPT = 6;

export class FigureBook {
  readonly #looks: Look[] = [];

  add(look: Look): Figures {
    this.#looks.push(look);
    if (this.#looks.length > LOOKS_KEPT) this.#looks.shift();
    const first = this.#looks[0] ?? look;
    const seconds = (look.atMs - first.atMs) / 1000;
    return {
      ...look,
      readingsPerSecond: seconds > 0 ? (look.accepted - first.accepted) / seconds : 0,
      bytesPerReading: look.readingsSent > 0 ? look.bytesSent / look.readingsSent : undefined,
    };
  }
}
