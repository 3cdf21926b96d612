// eventsource-parser, on fetch
import { setTimeout as sleep } from "node:timers/promises";
import { createParser } from "eventsource-parser";
import { fail, onmessage, run } from "./common.mjs";

async function read(url, id, onEvent) {
  const parser = createParser({ onEvent, onError: fail });
  const headers = { Accept: "text/event-stream", ...(id && { "Last-Event-ID": id }) };
  const response = await fetch(url, { headers });
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) parser.feed(text);
}

await run({
  async sse(url) {
    let last;
    for (;;) {
      await read(url, last, (event) => {
        last = event.id;
        onmessage(event);
      }).catch(() => sleep(50));
    }
  },
});
