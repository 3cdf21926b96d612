"""What the tests share: the program `sockeye`, a proxy that treats some transports badly, and tokens.

SOCKEYE_BIN  the program
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import os
import re
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import parse_qs, urlsplit

import sockeye

KEY = "only for tests: 0a1b2c3d4e5f60718293a4b5c6d7e8f9"
TRANSPORTS: list[sockeye.Transport] = ["v1", "sse", "longpoll", "poll"]
TIMEOUT = 120.0
"""What has not come by then, in seconds, never comes. On a machine so busy that a transport fails, it is tried again before that."""


def new_channel() -> str:
    """The name of a channel that no other test uses."""
    return f"test-{uuid.uuid4()}"


def numbers(first: int, last: int) -> list[str]:
    return [str(number) for number in range(first, last + 1)]


def token(seconds: int, channels: dict[str, list[str]] | None = None, sub: str = "ann") -> str:
    """A token that expires after some seconds."""
    now = int(time.time())
    claims = {"sub": sub, "iat": now, "exp": now + seconds, "channels": channels or {"*": ["read", "write", "presence"]}}
    parts = [json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in parts)
    signature = base64.urlsafe_b64encode(hmac.new(KEY.encode(), signed, hashlib.sha256).digest()).rstrip(b"=")
    return (signed + b"." + signature).decode()


async def until(holds: Callable[[], object]) -> None:
    """Waits until something holds."""
    async with asyncio.timeout(TIMEOUT):
        while not holds():
            await asyncio.sleep(0.01)


async def take(subscription: sockeye.Subscription, count: int) -> list[sockeye.Item]:
    """The next items."""
    async with asyncio.timeout(TIMEOUT):
        return [await anext(subscription) for _ in range(count)]


async def data_of(subscription: sockeye.Subscription, count: int) -> list[object]:
    """The payloads of the next items; gaps are as they are."""
    return [item.data if isinstance(item, sockeye.Message) else item for item in await take(subscription, count)]


class Server:
    """A running `sockeye serve`, on a port of its own choice."""

    def __init__(self, options: tuple[str, ...]) -> None:
        self.options = options
        self.url = ""
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None

    @staticmethod
    @asynccontextmanager
    async def run(*options: str) -> AsyncIterator[Server]:
        server = Server(options)
        await server.start()
        try:
            yield server
        finally:
            await server.stop()

    async def start(self) -> None:
        program = os.environ["SOCKEYE_BIN"]
        arguments = ("serve", "--listen", "127.0.0.1:0", "--admin", "off", *self.options)
        self._process = await asyncio.create_subprocess_exec(program, *arguments, stdout=asyncio.subprocess.PIPE)
        output = self._process.stdout
        assert output is not None
        async with asyncio.timeout(TIMEOUT):
            while not (found := re.search(rb"listening on .*?(https?)?(?:://)?([\d.]+:\d+)", line := await output.readline())):
                assert line, "it says where it listens"
        scheme = "https" if "--tls-cert" in self.options else "http"
        self.url = f"{scheme}://{found[2].decode()}"
        self._reading = asyncio.create_task(self._read(output))

    async def _read(self, output: asyncio.StreamReader) -> None:
        while await output.read(4096):
            pass

    def terminate(self) -> None:
        """Has it stop in order: it tells its clients when to come back."""
        assert self._process is not None
        self._process.terminate()

    async def ended(self) -> None:
        assert self._process is not None
        async with asyncio.timeout(TIMEOUT):
            await self._process.wait()

    async def stop(self) -> None:
        """Ends it as a crash does."""
        assert self._process is not None and self._reading is not None
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def crash(self) -> None:
        """Ends it as a crash does, and starts it again, on another port."""
        await self.stop()
        await self.start()


class Proxy:
    """A proxy in front of a server. `rules` say what becomes of a transport: `refuse` answers 403, `password` 401, `cut` lets it
    open and ends it at once, `hold` lets the answer begin and holds back what follows, as a proxy does that buffers."""

    def __init__(self, url: str) -> None:
        self.target = url
        self.rules: dict[str, str] = {}
        self.asked: list[str] = []
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @staticmethod
    @asynccontextmanager
    async def to(url: str, **rules: str) -> AsyncIterator[Proxy]:
        proxy = Proxy(url)
        proxy.rules = rules
        server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        proxy.url = f"http://{host}:{port}"
        try:
            yield proxy
        finally:
            server.close()
            proxy.cut()
            for task in proxy._tasks:
                task.cancel()
            await asyncio.gather(*proxy._tasks, return_exceptions=True)

    url = ""

    def cut(self) -> None:
        """Ends every connection, in mid-message if need be. New ones come through."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            # Python 3.11 takes a handler that is cancelled for one that failed.
            with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request, with a connection of its own to the server. Whether there may be another."""
        head = await reader.readuntil(b"\r\n\r\n")
        kind = _kind_of(head.decode())
        self.asked.append(kind)
        rule = self.rules.get(kind)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        body = await reader.readexactly(int(length[1])) if length else b""
        if rule in ("refuse", "password"):
            status = b"403 Forbidden" if rule == "refuse" else b"401 Unauthorized\r\nWWW-Authenticate: Basic"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
            writer.close()
            await writer.wait_closed()
            return False
        if kind != "v1":
            head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        address = urlsplit(self.target)
        near_reader, far = await asyncio.open_connection(address.hostname, address.port)
        self._writers.add(far)
        try:
            far.write(head + body)
            back = asyncio.create_task(_pump(reader, far))
            try:
                await self._bring(near_reader, writer, rule)
            finally:
                back.cancel()
                await asyncio.gather(back, return_exceptions=True)
        finally:
            self._writers.discard(far)
            far.transport.abort()
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        return False

    async def _bring(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rule: str | None) -> None:
        if rule in ("hold", "cut"):
            writer.write(await reader.readuntil(b"\r\n\r\n"))
            await writer.drain()
        if rule == "cut":
            return
        if rule == "hold":
            while await reader.read(65536):
                pass
            return
        await _pump(reader, writer)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()


def _kind_of(head: str) -> str:
    method, target, _ = head.split("\r\n")[0].split(" ", 2)
    url, lower = urlsplit(target), head.lower()
    if "\r\nupgrade: websocket" in lower:
        return "v1"
    if not re.fullmatch(r"/c/[^/]+", url.path):
        return "other"
    if method == "POST":
        return "publish"
    if "\r\naccept: text/event-stream" in lower:
        return "sse"
    return "longpoll" if "wait" in parse_qs(url.query) else "poll"
