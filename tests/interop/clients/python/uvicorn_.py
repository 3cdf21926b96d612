"""Starlette on uvicorn"""

import uvicorn
from common import run, say
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute


async def echo(ws):
    await ws.accept()
    while True:
        message = await ws.receive()
        if message["type"] == "websocket.disconnect":
            return
        if message.get("text") is not None:
            await ws.send_text(message["text"])
        else:
            await ws.send_bytes(message["bytes"])


def server():
    app = Starlette(routes=[WebSocketRoute("/", echo)])
    config = uvicorn.Config(app, port=0, log_level="error")
    listener = config.bind_socket()
    listener.listen()
    say(port=listener.getsockname()[1])
    uvicorn.Server(config).run([listener])


run({"server": server})
