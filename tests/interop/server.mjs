// A server made with Node's ws, on a free port that it reports as a line of JSON:
// server.mjs plain|deflate [CERTIFICATE KEY]
//
// What a connection does is said by its path; how it was closed is reported when it ends.

import { once } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { WebSocketServer } from "ws";

const say = (report) => console.log(JSON.stringify(report));

const paths = {
  "/"() {},
  "/fragments"(ws) {
    for (const part of ["so", "ck", "eye 🐟"]) ws.send(part, { fin: false });
    ws.send("", { fin: true });
    ws.send(Buffer.from([0]), { fin: false, binary: true });
    ws.send(Buffer.from([]), { fin: false });
    ws.send(Buffer.from([255, 254]), { fin: true });
  },
  "/ping"(ws) {
    ws.on("pong", (payload) => {
      if (payload.toString() === "are you there?") ws.send("the pong came");
    });
    ws.ping("are you there?");
  },
  "/close"(ws) {
    ws.close(4001, "enough");
  },
};

const perMessageDeflate = process.argv[2] === "deflate" && { threshold: 0 };
const [cert, key] = process.argv.slice(3).map((path) => readFileSync(path));
const listener = cert ? https.createServer({ cert, key }) : http.createServer();
const server = new WebSocketServer({ server: listener, perMessageDeflate });
listener.listen(0, "127.0.0.1");
await once(listener, "listening");
say({ port: listener.address().port });
server.on("connection", (ws, request) => {
  ws.on("message", (data, isBinary) => ws.send(data, { binary: isBinary }));
  ws.on("close", (code, reason) => say({ code, reason: reason.toString() }));
  paths[request.url](ws);
});
