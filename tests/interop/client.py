"""A client made with Python's websockets: client.py URL LARGEST GOING_AWAY plain|deflate

Reports each check that holds as a line of JSON, and fails at the first that does not. The server
sends every message back, takes none above LARGEST bytes, and closes with GOING_AWAY when it stops.
With `deflate` compression is offered.
"""

import asyncio
import json
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

COMPRESSION = "deflate" if sys.argv[4] == "deflate" else None
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 1048576]


def passed(check):
    print(json.dumps({"check": check}), flush=True)


def opened(url):
    return connect(url, proxy=None, max_size=None, compression=COMPRESSION)


def expect(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {str(found)[:200]}, expected {str(expected)[:200]}")


async def messages(ws, largest):
    for size in (size for size in SIZES if size <= largest):
        text = ("🐟" + "a" * (size - 4)) if size >= 4 else "a" * size
        await ws.send(text)
        expect("text", await ws.recv(), text)
        passed(f"text {size}")
        data = bytes(index % 251 for index in range(size))
        await ws.send(data)
        expect("binary", await ws.recv(), data)
        passed(f"binary {size}")


async def fragments(ws):
    await ws.send(["so", "ck", "eye 🐟", ""])
    expect("fragmented text", await ws.recv(), "sockeye 🐟")
    passed("fragmented text")
    await ws.send([b"\x00", b"", b"\xff\xfe"])
    expect("fragmented binary", await ws.recv(), b"\x00\xff\xfe")
    passed("fragmented binary")


async def ping(ws):
    # The future is done by the pong with this very payload.
    await asyncio.wait_for(await ws.ping(b"are you there?"), 10)
    passed("ping")


async def close(url, code, reason):
    async with opened(url) as ws:
        await ws.close(code, reason)
        expect("close code", ws.close_code, code)
        expect("sent by the client first", ws.protocol.close_rcvd_then_sent, False)
    passed(f"close {code}")


async def closed_by_server(url, code, check, act):
    async with opened(url) as ws:
        await act(ws)
        try:
            await asyncio.wait_for(ws.recv(), 10)
            sys.exit(f"{check}: a message, not a close")
        except ConnectionClosed as closed:
            expect(f"{check}: code", closed.rcvd and closed.rcvd.code, code)
            expect(f"{check}: sent by the server first", closed.rcvd_then_sent, True)
    passed(check)


async def main(url, largest, going_away):
    async with opened(url) as ws:
        expect("subprotocol", ws.subprotocol, None)
        passed("no subprotocol")
        passed("compressed" if ws.protocol.extensions else "not compressed")
        await messages(ws, largest)
        await fragments(ws)
        await ping(ws)
    await close(url, 1000, "")
    await close(url, 4321, "bye")
    await closed_by_server(url, 1009, "too large", lambda ws: ws.send(b"x" * (largest + 1)))

    async def ask_to_go(_):
        print(json.dumps({"ready": "to be told that the server goes"}), flush=True)

    await closed_by_server(url, going_away, "going away", ask_to_go)


asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:4])))
