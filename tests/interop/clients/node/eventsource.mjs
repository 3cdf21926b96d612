// eventsource
import { EventSource } from "eventsource";
import { onmessage, run } from "./common.mjs";

await run({ sse: (url) => Object.assign(new EventSource(url), { onmessage }) });
