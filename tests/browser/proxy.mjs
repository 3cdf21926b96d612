/** A proxy between the browser and the server that treats some transports badly, as real ones do. */

import { once } from 'node:events';
import http from 'node:http';
import net from 'node:net';

/**
 * What becomes of a transport: `refuse` answers 403, `password` 401, `cut` lets it open and ends it at once, `hold` lets the server's
 * answer begin and holds back what follows, as a proxy does that buffers.
 * @typedef {{v1?: 'refuse' | 'cut', sse?: 'refuse' | 'password' | 'hold', longpoll?: 'refuse'}} Rules
 */

export class Proxy {
  /** The rules, to be changed at any time. @type {Rules} */
  rules = {};
  /** What was asked for, in order: `v1`, `sse`, `longpoll`, `poll`, `publish` or `other`. */
  asked = [];
  #target;
  #server;
  #sockets = new Set();

  /** @param {string} url the server @param {Rules} rules */
  static async to(url, rules = {}) {
    const proxy = new Proxy();
    proxy.#target = new URL(url);
    proxy.rules = rules;
    proxy.#server = http.createServer((request, response) => proxy.#pass(request, response));
    proxy.#server.on('upgrade', (request, socket, head) => proxy.#upgrade(request, socket, head));
    proxy.#server.on('connection', (socket) => proxy.#keep(socket));
    proxy.#server.listen(0, '127.0.0.1');
    await once(proxy.#server, 'listening');
    return proxy;
  }

  /** The base URL on this side. */
  get url() {
    return `http://127.0.0.1:${this.#server.address().port}`;
  }

  /** From now on connections lead to another server, or to the same that has started again. */
  leadTo(url) {
    this.#target = new URL(url);
  }

  /** How often a transport was asked for. */
  count(kind) {
    return this.asked.filter((each) => each === kind).length;
  }

  /** Ends every connection, in mid-message if need be. New ones come through. */
  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }

  close() {
    this.#server.close();
    this.cut();
  }

  #keep(socket) {
    this.#sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.#sockets.delete(socket));
  }

  #pass(request, response) {
    const kind = kindOf(request);
    this.asked.push(kind);
    if (this.rules[kind] === 'refuse' || this.rules[kind] === 'password') {
      response.writeHead(this.rules[kind] === 'refuse' ? 403 : 401, { 'Content-Type': 'text/html' }).end('<p>Blocked</p>');
      return;
    }
    const onward = http.request(this.#options(request), (answer) => {
      response.writeHead(answer.statusCode, answer.rawHeaders);
      if (this.rules[kind] === 'hold') response.flushHeaders();
      else answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  }

  #upgrade(request, near, head) {
    this.asked.push('v1');
    if (this.rules.v1 === 'refuse') {
      near.end('HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
      return;
    }
    const far = net.connect(Number(this.#target.port), this.#target.hostname, () => {
      const lines = [`${request.method} ${request.url} HTTP/1.1`];
      for (let n = 0; n < request.rawHeaders.length; n += 2) lines.push(`${request.rawHeaders[n]}: ${request.rawHeaders[n + 1]}`);
      far.write(`${lines.join('\r\n')}\r\n\r\n`);
      far.write(head);
      near.pipe(far);
      far.pipe(near);
    });
    this.#keep(far);
    far.on('close', () => near.destroy());
    near.on('close', () => far.destroy());
    // The first bytes are the answer to the handshake, and perhaps what the server says first; then it is over.
    if (this.rules.v1 === 'cut') far.once('data', () => setImmediate(() => near.end(() => far.destroy())));
  }

  #options({ method, url, headers }) {
    return { host: this.#target.hostname, port: this.#target.port, method, path: url, headers };
  }
}

function kindOf({ method, url, headers }) {
  const { pathname, searchParams } = new URL(url, 'http://proxy');
  if (!/^\/c\/[^/]+$/.test(pathname)) return 'other';
  if (method === 'POST') return 'publish';
  if (headers.accept?.includes('text/event-stream')) return 'sse';
  return searchParams.has('wait') ? 'longpoll' : 'poll';
}
