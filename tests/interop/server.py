"""A server made with Python's websockets, on a free port that it reports as a line of JSON:
server.py plain|deflate [CERTIFICATE KEY]

What a connection does is said by its path; how it was closed is reported when it ends.
"""

import asyncio
import contextlib
import json
import ssl
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


def say(report):
    print(json.dumps(report), flush=True)


async def echo(ws):
    async for message in ws:
        await ws.send(message)


async def fragments(ws):
    await ws.send(["so", "ck", "eye 🐟", ""])
    await ws.send([b"\x00", b"", b"\xff\xfe"])
    await echo(ws)


async def ping(ws):
    await asyncio.wait_for(await ws.ping(b"are you there?"), 10)
    await ws.send("the pong came")
    await echo(ws)


async def close(ws):
    await ws.close(4001, "enough")


COMPRESSION = "deflate" if sys.argv[1] == "deflate" else None
PATHS = {"/": echo, "/fragments": fragments, "/ping": ping, "/close": close}


async def handle(ws):
    # A close with another code than 1000 or 1001 ends a loop over messages with an exception.
    with contextlib.suppress(ConnectionClosed):
        await PATHS[ws.request.path](ws)
    await ws.wait_closed()
    say({"code": ws.close_code, "reason": ws.close_reason})


async def main():
    context = None
    if len(sys.argv) > 2:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*sys.argv[2:4])
    options = {"max_size": None, "compression": COMPRESSION, "ssl": context}
    async with serve(handle, "127.0.0.1", 0, **options) as server:
        say({"port": server.sockets[0].getsockname()[1]})
        await server.serve_forever()


asyncio.run(main())
