"""aiohttp"""

import asyncio
import json

import aiohttp
from aiohttp import web
from common import BYTES, LARGE, PUBLISHED, TEXT, equal, run, say


async def echo(url):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(url, compress=15) as ws:
            for message in (TEXT, LARGE):
                await ws.send_str(message)
                equal(await ws.receive_str(), message)
            await ws.send_bytes(BYTES)
            equal(await ws.receive_bytes(), BYTES)
            await ws.close()
            say(echo=3, closed=ws.close_code)


async def channel(url):
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        await ws.send_str(PUBLISHED)
        for _ in range(2):
            say(message=await ws.receive_str())


async def reading(url, read):
    """Goes on after each cut with what `read` saw last."""
    last = "now"
    while True:
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(None)) as session:
                async for last, data in read(session, url, last):
                    say(message=data, at=last)
        except aiohttp.ClientError:
            pass
        await asyncio.sleep(0.05)


async def ndjson(session, url, after):
    accept = {"Accept": "application/x-ndjson"}
    async with session.get(url, params={"after": after}, headers=accept) as response:
        async for line in response.content:
            if line.strip():
                message = json.loads(line)
                if "data" in message:
                    yield message["at"], message["data"]


async def pages(session, url, after):
    while True:
        async with session.get(url, params={"after": after, "wait": 20}) as response:
            page = await response.json()
        after = page["at"]
        for message in page["messages"]:
            yield message["at"], message["data"]


async def publish(url):
    async with aiohttp.ClientSession() as session, session.post(url, data=PUBLISHED) as response:
        say(status=response.status)


async def server():
    async def handle(request):
        ws = web.WebSocketResponse(max_msg_size=0)
        await ws.prepare(request)
        async for message in ws:
            if message.type == aiohttp.WSMsgType.TEXT:
                await ws.send_str(message.data)
            else:
                await ws.send_bytes(message.data)
        return ws

    app = web.Application()
    app.add_routes([web.get("/", handle)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    say(port=runner.addresses[0][1])
    await asyncio.Event().wait()


run({
    "echo": lambda url: asyncio.run(echo(url)),
    "channel": lambda url: asyncio.run(channel(url)),
    "ndjson": lambda url: asyncio.run(reading(url, ndjson)),
    "poll": lambda url: asyncio.run(reading(url, pages)),
    "publish": lambda url: asyncio.run(publish(url)),
    "server": lambda: asyncio.run(server()),
})
