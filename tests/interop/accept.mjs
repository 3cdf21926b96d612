// Opens a WebSocket over HTTP/2 with a key, as proxies do that pass on a handshake of HTTP/1.1, and
// reports the status and what answers the key.

import http2 from "node:http2";

const url = new URL(process.argv[2]);
const session = http2.connect(url.origin);
session.on("remoteSettings", () => {
  const stream = session.request({
    ":method": "CONNECT",
    ":protocol": "websocket",
    ":path": url.pathname,
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
  });
  stream.on("response", (headers) => {
    const [status, accept] = [headers[":status"], headers["sec-websocket-accept"]];
    console.log(JSON.stringify({ status, accept }));
    session.destroy();
  });
});
