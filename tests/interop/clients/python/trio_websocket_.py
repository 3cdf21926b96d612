"""trio-websocket"""

import trio
from common import BYTES, LARGE, PUBLISHED, TEXT, equal, run, say
from trio_websocket import ConnectionClosed, open_websocket_url, serve_websocket


async def echo(url):
    async with open_websocket_url(url) as ws:
        for message in (TEXT, BYTES, LARGE):
            await ws.send_message(message)
            equal(await ws.get_message(), message)
        await ws.aclose()
        say(echo=3, closed=int(ws.closed.code))


async def channel(url):
    async with open_websocket_url(url) as ws:
        await ws.send_message(PUBLISHED)
        for _ in range(2):
            say(message=await ws.get_message())


async def handle(request):
    ws = await request.accept()
    try:
        while True:
            await ws.send_message(await ws.get_message())
    except ConnectionClosed:
        pass


async def server():
    async with trio.open_nursery() as nursery:
        listening = await nursery.start(lambda task_status: serve_websocket(
            handle, "127.0.0.1", 0, None, max_message_size=1 << 21, task_status=task_status))
        say(port=listening.port)


run({
    "echo": lambda url: trio.run(echo, url),
    "channel": lambda url: trio.run(channel, url),
    "server": lambda: trio.run(server),
})
