"""Python's websockets as a client for `sockeye check --listen`: `python client.py URL [CERTIFICATES]`.

It connects again and again, several times at once, and sends every message back, until connections are refused.
"""

import asyncio
import ssl
import sys

import websockets


async def echo(url, options):
    while True:
        try:
            async with websockets.connect(url, max_size=None, proxy=None, **options) as ws:
                async for message in ws:
                    await ws.send(message)
        except ConnectionRefusedError:
            return
        except (websockets.WebSocketException, OSError, EOFError):
            pass


async def main(url, *certificates):
    options = {"ssl": ssl.create_default_context(cafile=certificates[0])} if certificates else {}
    await asyncio.gather(*(echo(url, options) for _ in range(4)))


asyncio.run(main(*sys.argv[1:]))
