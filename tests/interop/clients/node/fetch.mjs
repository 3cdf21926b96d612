// Node's own fetch
import { PUBLISHED, jsonLines, longPoll, run, say } from "./common.mjs";

await run({
  ndjson: (url) =>
    jsonLines(async (after) => {
      const response = await fetch(`${url}?after=${after}`, { headers: { accept: "application/x-ndjson" } });
      return response.body.pipeThrough(new TextDecoderStream());
    }),
  poll: (url) => longPoll(async (after) => (await fetch(`${url}?after=${after}&wait=20`)).json()),
  publish: async (url) => say({ status: (await fetch(url, { method: "POST", body: PUBLISHED })).status }),
});
