"""One WebSocket for all channels: `sockeye.v1` on `/connect`."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from ._attempt import Attempt, Channel
from ._errors import SockeyeError
from ._http import ANSWER_WITHIN
from ._messages import End, Join, Leave, Position, Publication, gap_from, member_from, message_from, parsed, position_from, to_json

HELLO_WITHIN = 5.0
"""The server speaks first; a socket on which nothing has come by then does not work."""
CLOSE_WITHIN = 1.0
PING_EVERY = 20.0
LARGEST_ESCAPE = 6
"""A byte of a message can take six in JSON."""


class _Connect(connect):
    """A token is for the server that was named, not for where that one sends its clients."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        return exc


class Http1Context(ssl.SSLContext):
    """A context that offers HTTP/1.1 alone, whatever the one that it is made of has been told to offer for requests."""

    _inner: ssl.SSLContext

    @staticmethod
    def of(inner: ssl.SSLContext) -> Http1Context:
        context = Http1Context(ssl.PROTOCOL_TLS_CLIENT)
        context._inner = inner
        return context

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        self._inner.set_alpn_protocols(["http/1.1"])
        return self._inner.wrap_bio(*args, **kwargs)


class SocketAttempt(Attempt):
    _socket: ClientConnection
    _last_id = 0

    def start(self) -> None:
        self._asked: dict[int, tuple[asyncio.Future[dict[str, Any]], Callable[[dict[str, Any]], None] | None]] = {}
        self._subscribed: set[str] = set()
        self.ended.add_done_callback(lambda _: self._lose())
        self.spawn(self._run())

    async def _run(self) -> None:
        try:
            async with asyncio.timeout(HELLO_WITHIN):
                self._socket = await self._connect()
                try:
                    hello = parsed(await self._socket.recv())
                except BaseException:
                    self._socket.transport.abort()
                    raise
        except TimeoutError as error:
            raise SockeyeError("The WebSocket does not open.") from error
        except (WebSocketException, OSError) as error:
            raise SockeyeError(str(error) or type(error).__name__) from error
        try:
            if "hello" in hello:
                self.spawn(self._welcome())
            else:
                self._heard(hello)
            async for frame in self._socket:
                self._heard(parsed(frame))
            raise SockeyeError("The WebSocket was closed.")
        except ConnectionClosed as error:
            raise SockeyeError(f"The WebSocket was closed: {error}") from error
        finally:
            await self._close()

    async def _connect(self) -> ClientConnection:
        url = self.http.url("connect")
        tls: dict[str, Any] = {"ssl": Http1Context.of(self.http.context)} if self.http.context else {}
        return await _Connect(
            "ws" + url.removeprefix("http"),
            subprotocols=[Subprotocol("sockeye.v1")],
            additional_headers=self.http.headers,
            open_timeout=None,
            close_timeout=CLOSE_WITHIN,
            ping_interval=PING_EVERY,
            ping_timeout=PING_EVERY,
            max_size=self.http.max_message * LARGEST_ESCAPE + 4096,
            **tls,
        )

    async def _close(self) -> None:
        # A dead peer does not answer.
        with suppress(TimeoutError, WebSocketException, OSError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._socket.close()
        self._socket.transport.abort()

    async def _welcome(self) -> None:
        try:
            await self.refresh()
        except SockeyeError as error:
            if error.status == 401:
                for channel in self.connection.channels:
                    self.connection.refused(channel.name, error)
            raise
        self.works()
        for channel in self.connection.channels:
            self.open(channel)

    def _heard(self, frame: dict[str, Any]) -> None:
        if "bye" in frame:
            bye = frame["bye"] if isinstance(frame["bye"], dict) else {}
            retry_ms = bye.get("retry_ms")
            self.bye = True
            self.retry_after = retry_ms / 1000 if isinstance(retry_ms, int) else 0.0
            raise SockeyeError(f"The server ended the connection: {bye.get('why')}.")
        if isinstance(name := frame.get("ch"), str):
            # What comes between `unsub` and the answer to another `sub` is of the subscription before.
            if name in self._subscribed:
                self._took(name, frame)
        elif isinstance(frame.get("id"), int):
            self._answered(frame)

    def _took(self, name: str, frame: dict[str, Any]) -> None:
        if frame.get("end") is True:
            self.connection.took(name, End(position_from(frame.get("at"))), 0)
        elif "at" in frame:
            self.connection.took(name, message_from(name, frame), _size(frame))
        elif "gap" in frame:
            self.connection.took(name, gap_from(name, frame["gap"]), 0)
        elif "join" in frame:
            self.connection.changed(name, Join(name, member_from(frame["join"])))
        elif "leave" in frame:
            self.connection.changed(name, Leave(name, member_from(frame["leave"])))
        elif "err" in frame:
            error = _error_from(frame["err"])
            if error.is_transient:
                raise error
            self.connection.refused(name, error)

    def _answered(self, frame: dict[str, Any]) -> None:
        future, answered = self._asked.pop(frame["id"], (None, None))
        if future is None or future.done():
            return
        if isinstance(ok := frame.get("ok"), dict):
            # Now, before the next frame is looked at.
            if answered:
                answered(ok)
            future.set_result(ok)
        else:
            future.set_exception(_error_from(frame.get("err")))

    def _lose(self) -> None:
        for future, _ in self._asked.values():
            if not future.done():
                future.set_exception(SockeyeError("The connection was lost."))

    async def _ask(
        self,
        members: str,
        within: float = ANSWER_WITHIN,
        answered: Callable[[dict[str, Any]], None] | None = None,
    ) -> dict[str, Any]:
        if self.is_over:
            raise SockeyeError("The connection was lost.")
        self._last_id += 1
        number = self._last_id
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = (future, answered)
        try:
            async with asyncio.timeout(within):
                await self._socket.send(f'{{"id":{number},{members}}}')
                return await future
        except TimeoutError as error:
            raise SockeyeError("The server does not answer.") from error
        except ConnectionClosed as error:
            raise SockeyeError("The connection was lost.") from error
        finally:
            self._asked.pop(number, None)
            future.cancel()

    async def refresh(self) -> None:
        """Sends the token; a fresh one, if that is refused."""
        token = await self.http.token()
        if token is None:
            return
        try:
            await self._ask(f'"op":"auth","token":{to_json(token)}')
        except SockeyeError as error:
            fresh = await self.http.token(token) if error.status == 401 else None
            if fresh is None:
                raise
            await self._ask(f'"op":"auth","token":{to_json(fresh)}')

    def open(self, channel: Channel) -> None:
        if self.since and not self.is_over:
            self.spawn(self._subscribe(channel))

    async def _subscribe(self, channel: Channel) -> None:
        def answered(ok: dict[str, Any]) -> None:
            if not self.connection.reads(channel):
                return
            self._subscribed.add(channel.name)
            if not ok.get("missed"):
                self.connection.stands(channel, position_from(ok.get("at")))

        members = {"op": "sub", "ch": channel.name}
        if channel.at:
            members["after"] = channel.at
        presence = ',"presence":true' if channel.presence else ""
        try:
            await self._ask(to_json(members)[1:-1] + presence, answered=answered)
        except SockeyeError as error:
            if error.is_transient:
                raise
            self.connection.refused(channel.name, error)

    def shut(self, name: str) -> None:
        self._subscribed.discard(name)
        if self.since and not self.is_over:
            self.spawn(self._unsubscribe(name))

    async def _unsubscribe(self, name: str) -> None:
        await self._ask(to_json({"op": "unsub", "ch": name})[1:-1])

    def publish(self, publication: Publication) -> Coroutine[Any, Any, Position]:
        return self._publish(publication)

    async def _publish(self, publication: Publication) -> Position:
        event = f',"event":{to_json(publication.event)}' if publication.event else ""
        members = f'"op":"pub","ch":{to_json(publication.channel)},{publication.member}{event},"key":{to_json(publication.key)}'
        return position_from((await self._ask(members)).get("at"))

    def probe(self) -> None:
        if self.since and not self.is_over:
            self.spawn(self._ping())

    async def _ping(self) -> None:
        await self._ask('"op":"ping"', within=HELLO_WITHIN)


def _error_from(value: object) -> SockeyeError:
    about = value if isinstance(value, dict) else {}
    code, retry = about.get("code"), about.get("retry")
    return SockeyeError(
        str(about.get("message", "The server refused a command.")),
        code=code if isinstance(code, str) else None,
        status=401 if code == "unauthorized" else None,
        retry=retry if isinstance(retry, bool) else None,
    )


def _size(frame: dict[str, Any]) -> int:
    """About how much memory a message takes."""
    data = frame.get("b64", frame.get("data"))
    return len(data) if isinstance(data, str) else len(to_json(data)) if data else 0
