// @microsoft/fetch-event-source, which is made for pages
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { onmessage, run } from "./common.mjs";

globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
await run({ sse: (url) => fetchEventSource(url, { onmessage, openWhenHidden: true }) });
