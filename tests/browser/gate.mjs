/** A gate between the browser and the server, to be shut in the middle of a conversation. */

import { once } from 'node:events';
import net from 'node:net';

export class Gate {
  #target;
  #listener;
  #sockets = new Set();
  #port = 0;

  /** How many connections have come. */
  connections = 0;

  /** @param {string} url where the gate leads */
  static async to(url) {
    const gate = new Gate();
    gate.#target = new URL(url);
    await gate.open();
    return gate;
  }

  /** The base URL on this side of the gate. */
  get url() {
    return `${this.#target.protocol}//127.0.0.1:${this.#port}`;
  }

  /** Lets connections through, on the same port each time. */
  async open() {
    this.#listener = net.createServer((near) => {
      this.connections += 1;
      const far = net.connect(Number(this.#target.port), this.#target.hostname);
      for (const [socket, other] of [[near, far], [far, near]]) {
        this.#sockets.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => {
          this.#sockets.delete(socket);
          other.destroy();
        });
        socket.pipe(other);
      }
    });
    this.#listener.listen(this.#port, '127.0.0.1');
    await once(this.#listener, 'listening');
    this.#port = this.#listener.address().port;
  }

  /** Cuts every connection, in mid-frame if need be, and refuses new ones. */
  async shut() {
    const closed = once(this.#listener, 'close');
    this.#listener.close();
    for (const socket of this.#sockets) socket.resetAndDestroy();
    await closed;
  }
}
