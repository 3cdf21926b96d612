"""An echo server with WebSockets over HTTP/2 (RFC 8441), by prior knowledge: hypercorn, which is made of h2 and wsproto."""

import asyncio
import json
import socket

from hypercorn.asyncio import serve
from hypercorn.config import Config


async def echo(scope, receive, send):
    if scope["type"] != "websocket":
        return
    while True:
        event = await receive()
        match event["type"]:
            case "websocket.connect":
                await send({"type": "websocket.accept"})
            case "websocket.receive":
                # One of the two is None.
                await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})
            case "websocket.disconnect":
                return


async def main():
    config = Config()
    listener = socket.create_server(("127.0.0.1", 0))
    config.bind = [f"fd://{listener.fileno()}"]
    config.accesslog = config.errorlog = None
    print(json.dumps({"port": listener.getsockname()[1]}), flush=True)
    await serve(echo, config, shutdown_trigger=asyncio.Event().wait)


asyncio.run(main())
