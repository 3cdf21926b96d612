// undici
import { EventSource, WebSocket, request } from "undici";
import { PUBLISHED, channel, echo, jsonLines, longPoll, onmessage, run, say } from "./common.mjs";

await run({
  echo: (url) => echo(new WebSocket(url)),
  channel: (url) => channel(new WebSocket(url)),
  sse(url) {
    Object.assign(new EventSource(url), { onmessage });
    // While it waits to reconnect it does not keep Node alive.
    setInterval(() => {}, 1000);
  },
  ndjson: (url) =>
    jsonLines(async (after) => {
      const { body } = await request(url, { query: { after }, headers: { accept: "application/x-ndjson" } });
      return body.setEncoding("utf8");
    }),
  poll: (url) => longPoll(async (after) => (await request(url, { query: { after, wait: 20 } })).body.json()),
  publish: async (url) => say({ status: (await request(url, { method: "POST", body: PUBLISHED })).statusCode }),
});
