/**
 * What the broker asks its store for, and gets: nothing is kept. Sessions end with their connection, retained messages are
 * computed from live values when somebody subscribes (`audience.ts`), Wills are refused before they come here. Only the QoS 2
 * handshake of commands needs a memory, which the broker bounds (`maxInflightInbound`) and a lost connection clears.
 */
import { Readable } from 'node:stream';

interface Identified {
  readonly id: string;
}
interface Numbered {
  readonly messageId?: number;
}

export class NothingKept {
  readonly #incoming = new Map<string, Map<number, Numbered>>();

  // The broker insists on an async function.
  async setup(): Promise<void> {}
  async storeRetained(): Promise<void> {}
  createRetainedStreamCombi(): Readable {
    return Readable.from([]);
  }
  createRetainedStream(): Readable {
    return Readable.from([]);
  }
  async addSubscriptions(): Promise<void> {}
  async removeSubscriptions(): Promise<void> {}
  async cleanSubscriptions(): Promise<void> {}
  async subscriptionsByClient(): Promise<never[]> {
    return [];
  }
  async subscriptionsByTopic(): Promise<never[]> {
    return [];
  }
  async outgoingEnqueue(): Promise<void> {}
  async outgoingEnqueueCombi(): Promise<void> {}
  async outgoingUpdate(): Promise<void> {}
  async outgoingClearMessageId(): Promise<void> {}
  outgoingStream(): Readable {
    return Readable.from([]);
  }
  async incomingStorePacket(client: Identified, packet: Numbered): Promise<void> {
    const kept = this.#incoming.get(client.id) ?? new Map<number, Numbered>();
    this.#incoming.set(client.id, kept.set(packet.messageId ?? 0, packet));
  }
  async incomingGetPacket(client: Identified, packet: Numbered): Promise<Numbered> {
    const found = this.#incoming.get(client.id)?.get(packet.messageId ?? 0);
    // The broker takes the rejection for "not there".
    if (found === undefined) throw new Error('no such packet');
    return found;
  }
  async incomingDelPacket(client: Identified, packet: Numbered): Promise<void> {
    if (this.#incoming.get(client.id)?.delete(packet.messageId ?? 0) !== true) throw new Error('no such packet');
  }
  async cleanIncoming(client: Identified): Promise<void> {
    this.#incoming.delete(client.id);
  }
  async putWill(): Promise<void> {}
  async getWill(): Promise<void> {}
  async delWill(): Promise<void> {}
  streamWill(): Readable {
    return Readable.from([]);
  }
  getClientList(): Readable {
    return Readable.from([]);
  }
  async destroy(): Promise<void> {}
}
