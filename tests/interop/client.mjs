// A client made with Node's ws: client.mjs URL LARGEST GOING_AWAY plain|deflate
//
// Reports each check that holds as a line of JSON, and fails at the first that does not. The
// server sends every message back, takes none above LARGEST bytes, and closes with GOING_AWAY when it
// stops.

import assert from "node:assert/strict";
import { once } from "node:events";
import { WebSocket } from "ws";

const SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1048576];
const url = process.argv[2];
const [largest, goingAway] = process.argv.slice(3).map(Number);

const perMessageDeflate = process.argv[5] === "deflate" && { threshold: 0 };

const say = (report) => console.log(JSON.stringify(report));
const passed = (check) => say({ check });

async function open() {
  const ws = new WebSocket(url, { perMessageDeflate });
  await once(ws, "open");
  return ws;
}

async function receive(ws) {
  const [data, isBinary] = await once(ws, "message", { signal: AbortSignal.timeout(20_000) });
  return isBinary ? data : data.toString();
}

async function messages(ws) {
  for (const size of SIZES.filter((size) => size <= largest)) {
    const text = size >= 4 ? "🐟" + "a".repeat(size - 4) : "a".repeat(size);
    ws.send(text);
    assert.equal(await receive(ws), text);
    passed(`text ${size}`);
    const data = Buffer.from({ length: size }, (_, index) => index % 251);
    ws.send(data);
    assert.deepEqual(await receive(ws), data);
    passed(`binary ${size}`);
  }
}

async function fragments(ws) {
  for (const part of ["so", "ck", "eye 🐟"]) ws.send(part, { fin: false });
  ws.send("", { fin: true });
  assert.equal(await receive(ws), "sockeye 🐟");
  passed("fragmented text");
  ws.send(Buffer.from([0]), { fin: false, binary: true });
  ws.send(Buffer.from([]), { fin: false });
  ws.send(Buffer.from([255, 254]), { fin: true });
  assert.deepEqual(await receive(ws), Buffer.from([0, 255, 254]));
  passed("fragmented binary");
}

async function ping(ws) {
  ws.ping("are you there?");
  const [payload] = await once(ws, "pong", { signal: AbortSignal.timeout(10_000) });
  assert.equal(payload.toString(), "are you there?");
  passed("ping");
}

async function close(code, reason) {
  const ws = await open();
  ws.close(code, reason);
  const [received] = await once(ws, "close");
  assert.equal(received, code);
  passed(`close ${code}`);
}

async function closedByServer(code, check, act) {
  const ws = await open();
  ws.on("message", () => assert.fail(`${check}: a message, not a close`));
  act(ws);
  const [received] = await once(ws, "close", { signal: AbortSignal.timeout(10_000) });
  assert.equal(received, code);
  passed(check);
}

const ws = await open();
assert.equal(ws.protocol, "");
passed("no subprotocol");
passed(ws.extensions.startsWith("permessage-deflate") ? "compressed" : "not compressed");
await messages(ws);
await fragments(ws);
await ping(ws);
ws.close();
await close(1000, "");
await close(4321, "bye");
await closedByServer(1009, "too large", (ws) => ws.send(Buffer.alloc(largest + 1)));
await closedByServer(goingAway, "going away", () => say({ ready: "to be told that the server goes" }));
