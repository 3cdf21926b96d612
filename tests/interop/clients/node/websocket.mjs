// websocket
import http from "node:http";
import websocket from "websocket";
import { channel, echo, run, say } from "./common.mjs";

const config = { maxReceivedFrameSize: 1 << 21, maxReceivedMessageSize: 1 << 21 };
const open = (url) => new websocket.w3cwebsocket(url, undefined, undefined, undefined, undefined, config);

await run({
  echo: (url) => echo(open(url)),
  channel: (url) => channel(open(url)),
  server() {
    const httpServer = http.createServer().listen(0, "127.0.0.1", () => say({ port: httpServer.address().port }));
    const server = new websocket.server({ httpServer, autoAcceptConnections: true, ...config });
    server.on("connect", (connection) => {
      connection.on("message", (message) => {
        if (message.type === "utf8") connection.sendUTF(message.utf8Data);
        else connection.sendBytes(message.binaryData);
      });
    });
  },
});
