"""A reader of a channel by the Python client: `python reader.py URL CHANNEL AFTER [TRANSPORT]`.

Prints what comes, an object a line."""

import asyncio
import dataclasses
import json
import sys

import sockeye

ALL = ("v1", "sse", "longpoll", "poll")


async def main(url, channel, after, transport=None):
    # Without one, what gets through.
    transports = (transport,) if transport else ALL
    async with sockeye.AsyncClient(url, transports=transports, poll_interval=0.05) as client:
        async for item in client.subscribe(channel, after=after):
            what = dataclasses.asdict(item)
            print(json.dumps({"gap": what} if isinstance(item, sockeye.Gap) else what), flush=True)


asyncio.run(main(*sys.argv[1:]))
