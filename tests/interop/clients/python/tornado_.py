"""Tornado"""

import asyncio
import sys

from common import BYTES, LARGE, PUBLISHED, TEXT, equal, run, say
from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application
from tornado.websocket import WebSocketHandler, websocket_connect

COMPRESSION = {} if sys.argv[-1] == "compressed" else None


async def echo(url):
    ws = await websocket_connect(url, compression_options=COMPRESSION)
    for message in (TEXT, BYTES, LARGE):
        await ws.write_message(message, binary=isinstance(message, bytes))
        equal(await ws.read_message(), message)
    ws.close(1000)
    equal(await ws.read_message(), None)
    say(echo=3, closed=ws.close_code)


async def channel(url):
    ws = await websocket_connect(url)
    await ws.write_message(PUBLISHED)
    for _ in range(2):
        say(message=await ws.read_message())
    ws.close()


async def publish(url):
    response = await AsyncHTTPClient().fetch(url, method="POST", body=PUBLISHED)
    say(status=response.code)


class Echo(WebSocketHandler):
    def get_compression_options(self):
        return COMPRESSION

    def on_message(self, message):
        self.write_message(message, binary=isinstance(message, bytes))


async def server():
    [socket] = bind_sockets(0, "127.0.0.1")
    HTTPServer(Application([("/", Echo)])).add_socket(socket)
    say(port=socket.getsockname()[1])
    await asyncio.Event().wait()


run({
    "echo": lambda url: asyncio.run(echo(url)),
    "channel": lambda url: asyncio.run(channel(url)),
    "publish": lambda url: asyncio.run(publish(url)),
    "server": lambda: asyncio.run(server()),
})
