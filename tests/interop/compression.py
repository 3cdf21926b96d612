"""A client and a server made with Tornado, with its own offer of compression and its own answer:
compression.py client URL | compression.py server

The client sends messages alike, each of which has to come back; then it reports what was agreed on.
The server sends every message back, on a free port that it reports.
"""

import asyncio
import json
import sys

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler, websocket_connect


def say(report):
    print(json.dumps(report), flush=True)


async def client(url):
    ws = await websocket_connect(url, compression_options={})
    for number in range(5):
        message = json.dumps({"number": number, "text": "the same text again, " * 40})
        await ws.write_message(message)
        echo = await ws.read_message()
        if echo != message:
            sys.exit(f"message {number}: {echo!r}, close code {ws.close_code}")
    say({"extensions": ws.headers.get("Sec-WebSocket-Extensions", "")})
    ws.close(1000)


class Echo(WebSocketHandler):
    def get_compression_options(self):
        return {}

    async def on_message(self, message):
        await self.write_message(message, binary=isinstance(message, bytes))


async def server():
    sockets = bind_sockets(0, "127.0.0.1")
    HTTPServer(Application([("/", Echo)])).add_sockets(sockets)
    say({"port": sockets[0].getsockname()[1]})
    await asyncio.Event().wait()


asyncio.run(client(sys.argv[2]) if sys.argv[1] == "client" else server())
