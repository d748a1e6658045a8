/** A cable between gateway and cloud that can be cut, or that loses what comes back. */
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export class WireProxy {
  /** Where it leads; undefined: connections are refused by closing them. */
  to: number | undefined;
  /** So many answers are swallowed and their connections cut. */
  loseAnswers = 0;
  lost = 0;
  readonly #sockets = new Set<Socket>();
  readonly #server = createServer((near) => this.#join(near));

  get port(): number {
    return (this.#server.address() as AddressInfo).port; // a TCP listener's address is never a string
  }

  async listen(): Promise<this> {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    return this;
  }

  /** Cuts what is connected; later connections end at once until `to` is set again. */
  cut(): void {
    this.to = undefined;
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #join(near: Socket): void {
    this.#track(near);
    if (this.to === undefined) {
      near.destroy();
      return;
    }
    const far = connect(this.to, '127.0.0.1');
    this.#track(far);
    near.pipe(far);
    far.on('data', (bytes) => {
      if (this.loseAnswers > 0) {
        this.loseAnswers--;
        this.lost++;
        near.destroy();
        far.destroy();
        return;
      }
      near.write(bytes);
    });
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }
}
