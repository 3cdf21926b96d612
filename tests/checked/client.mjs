// Node's `ws` as a client for `sockeye check --listen`, run where that is installed; the last argument is the URL.
//
// It connects again and again, several times at once, and sends every message back, until connections are refused.
import { WebSocket } from "ws";

const url = process.argv.at(-1);

function echo() {
  const ws = new WebSocket(url, { perMessageDeflate: { threshold: 0 } });
  let isRefused = false;
  ws.on("message", (data, binary) => ws.send(data, { binary }));
  ws.on("error", (error) => (isRefused = error.code === "ECONNREFUSED"));
  ws.on("close", () => isRefused || echo());
}

for (let worker = 0; worker < 4; worker++) echo();
