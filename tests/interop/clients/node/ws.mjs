// ws
import { WebSocket, WebSocketServer } from "ws";
import { channel, echo, run, say } from "./common.mjs";

await run({
  echo: (url) => echo(new WebSocket(url, { perMessageDeflate: { threshold: 0 } })),
  channel: (url) => channel(new WebSocket(url)),
  server() {
    const perMessageDeflate = { threshold: 0 };
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate }, () => say({ port: server.address().port }));
    server.on("connection", (ws) => {
      // Or what a client does wrong ends the program.
      ws.on("error", () => {});
      ws.on("message", (data, binary) => ws.send(data, { binary }));
    });
  },
});
