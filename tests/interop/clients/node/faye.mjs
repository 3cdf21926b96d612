// faye-websocket
import http from "node:http";
import Faye from "faye-websocket";
import { channel, echo, run, say } from "./common.mjs";

await run({
  echo: (url) => echo(new Faye.Client(url)),
  channel: (url) => channel(new Faye.Client(url)),
  server() {
    const server = http.createServer().listen(0, "127.0.0.1", () => say({ port: server.address().port }));
    server.on("upgrade", (request, socket, body) => {
      const ws = new Faye(request, socket, body);
      ws.on("message", ({ data }) => ws.send(data));
    });
  },
});
