"""A reader of a channel by the Python client: `python reader.py URL CHANNEL AFTER`. Prints what comes, an object a line."""

import asyncio
import dataclasses
import json
import random
import sys

import sockeye

ALL = ("v1", "sse", "longpoll", "poll")


async def main(url, channel, after):
    # One of them, or what gets through.
    one = random.choice((*ALL, None))
    async with sockeye.AsyncClient(url, transports=(one,) if one else ALL, poll_interval=0.05) as client:
        async for item in client.subscribe(channel, after=after):
            what = dataclasses.asdict(item)
            print(json.dumps({"gap": what} if isinstance(item, sockeye.Gap) else what), flush=True)


asyncio.run(main(*sys.argv[1:]))
