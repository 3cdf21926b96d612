"""Python's websockets: `python echo.py`, or `python echo.py deflate` to compress as clients offer."""

import asyncio
import logging
import sys

from websockets.asyncio.server import serve


async def echo(socket):
    async for message in socket:
        await socket.send(message)


async def main():
    # That the load is gone without a Close is no news.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    compression = "deflate" if "deflate" in sys.argv[1:] else None
    async with serve(echo, "127.0.0.1", 0, compression=compression) as server:
        port = server.sockets[0].getsockname()[1]
        print(f"listening on 127.0.0.1:{port}", flush=True)
        await server.serve_forever()


asyncio.run(main())
