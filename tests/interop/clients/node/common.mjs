// What the clients of Node have in common: reports, and the messages that an echo sends back.
//
// Each is called with a check and a URL, prints one JSON object in a line for what it saw, and fails where that is wrong.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

export const TEXT = "sockeye 🐟";
export const BYTES = Buffer.from([0, 255, 254, 128]);
export const LARGE = "x".repeat(1 << 20);
export const PUBLISHED = "from a peer";

export const say = (report) => console.log(JSON.stringify(report));

/** What a page does with a message. A phantom without data fails here. */
export const onmessage = ({ data, id, lastEventId }) => say({ message: JSON.parse(data), at: id || lastEventId });

export function fail(error) {
  console.error(error);
  process.exit(1);
}

/** The echo of a standard WebSocket object, and its clean close. */
export function echo(ws) {
  ws.binaryType = "arraybuffer";
  const messages = [TEXT, BYTES, LARGE];
  let count = 0;
  ws.onopen = () => messages.forEach((message) => ws.send(message));
  ws.onmessage = ({ data }) => {
    assert.deepEqual(typeof data === "string" ? data : Buffer.from(data), messages[count++]);
    if (count === messages.length) ws.close(1000);
  };
  ws.onclose = ({ code }) => say({ echo: count, closed: code });
  ws.onerror = (event) => fail(event.error ?? event.message ?? event);
}

/** A standard WebSocket object on a channel. */
export function channel(ws) {
  let count = 0;
  ws.onopen = () => ws.send(PUBLISHED);
  ws.onmessage = ({ data }) => {
    say({ message: data });
    if (++count === 2) ws.close();
  };
  ws.onerror = (event) => fail(event.error ?? event.message ?? event);
}

/** Reads JSON lines on after each cut, as `open(after)` gives pieces of text. */
export async function jsonLines(open) {
  for (let after = "now"; ; await sleep(50)) {
    let text = "";
    try {
      for await (const piece of await open(after)) {
        text += piece;
        for (let end; (end = text.indexOf("\n")) >= 0; text = text.slice(end + 1)) {
          if (end === 0) continue;
          const message = JSON.parse(text.slice(0, end));
          after = message.at;
          if ("data" in message) say({ message: message.data, at: after });
        }
      }
    } catch {
      // The connection was cut.
    }
  }
}

/** Polls for ever, as `get(after)` gives a page. */
export async function longPoll(get) {
  for (let after = "now"; ; ) {
    try {
      const page = await get(after);
      after = page.at;
      for (const { data, at } of page.messages) say({ message: data, at });
    } catch {
      await sleep(50);
    }
  }
}

export const run = async (checks) => {
  const [check, ...rest] = process.argv.slice(2);
  await checks[check](...rest);
};
