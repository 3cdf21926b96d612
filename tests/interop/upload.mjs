// Posts 5 MB to a server that takes less, ten times by each client, and reports what it got.

import http from "node:http";
import http2 from "node:http2";

const url = new URL(process.argv[2]);
const body = Buffer.alloc(5 << 20, "x");

function byHttp() {
  return new Promise((resolve) => {
    const request = http.request(url, { method: "POST", agent: false }, (response) => {
      response.resume().on("end", () => resolve(response.statusCode));
    });
    request.on("error", (error) => resolve(error.code));
    request.end(body);
  });
}

function byFetch() {
  return fetch(url, { method: "POST", body }).then(
    async (response) => (await response.text(), response.status),
    (error) => String(error.cause),
  );
}

function byHttp2() {
  return new Promise((resolve) => {
    const session = http2.connect(url.origin);
    const stream = session.request({ ":method": "POST", ":path": url.pathname });
    const done = (outcome) => (resolve(outcome), session.destroy());
    let status = "no answer";
    stream.on("response", (headers) => (status = headers[":status"]));
    stream.on("error", (error) => done(error.code));
    stream.on("end", () => done(status));
    stream.resume().end(body);
  });
}

for (const [client, post] of Object.entries({ byHttp, byFetch, byHttp2 })) {
  const statuses = [];
  for (let i = 0; i < 10; i++) statuses.push(await post());
  console.log(JSON.stringify({ client, statuses }));
}
