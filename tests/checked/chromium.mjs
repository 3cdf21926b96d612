// Chromium as a client for `sockeye check --listen`, run where playwright-core is installed; the last argument is the URL.
//
// A page connects again and again and sends every message back. The browser waits longer and longer where connections
// fail often, so that a new page, which knows nothing of that, goes on every now and then.
import { chromium } from "playwright-core";

const url = process.argv.at(-1);
const browser = await chromium.launch({
  executablePath: process.env.SOCKEYE_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"],
});
const page = await browser.newPage();
await page.evaluate((url) => {
  function echo() {
    const ws = new WebSocket(url);
    ws.binaryType = "arraybuffer";
    ws.onmessage = ({ data }) => ws.send(data);
    ws.onclose = echo;
  }
  for (let worker = 0; worker < 4; worker++) echo();
}, url);
