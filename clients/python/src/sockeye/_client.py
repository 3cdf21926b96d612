"""Sockeye with asyncio.

A channel is a log, and a position in it means the same on every transport. Everything rests on that. A `Connection` is a position
in each channel and one `Attempt` that moves it on; when the attempt ends, the next one, of whatever transport, continues from
there. A `Subscription` is a position, too. With each message the connection tells where it stood before, so a subscription that
began late, or whose application was slow, sees that and reads the rest by itself.
"""

from __future__ import annotations

import asyncio
import secrets
import ssl as tls
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TypedDict

from ._backoff import backoff
from ._connection import Connection
from ._errors import SockeyeError
from ._http import Http, Token
from ._messages import End, Gap, Join, Leave, Message, Page, Position, Presence, Publication
from ._status import TRANSPORTS, State, Status, Transport
from ._subscription import Subscription

PUBLISH_ATTEMPTS = 6
MOST_CHANNELS = 128
"""How many subscriptions a server allows on one WebSocket."""


class Options(TypedDict, total=False):
    """The options of a client, for `Client`, which hands them on: `AsyncClient` says what they do and their defaults."""

    token: Token
    name: str | None
    transports: Sequence[Transport]
    poll_interval: float
    headers: Mapping[str, str] | None
    ssl: tls.SSLContext | None
    http2: bool
    max_message: int
    on_status: Callable[[Status], None] | None


class AsyncClient:
    """A server, and the channels on it that a program uses.

    - `url`: where the server is, such as `https://example.org/`.
    - `token`: the access token, or a function, plain or `async`, that gets one: it is called before a token expires, and when one
      is refused. A token is sent as `Authorization` or in a message, never in a URL.
    - `name`: the id that other members see where there are no tokens.
    - `transports`: those that may be used, best first. Default: all.
    - `poll_interval`: seconds between polls, when nothing better works.
    - `headers`: sent with every request, such as cookies.
    - `ssl`: what TLS trusts. Default: the system's certificates.
    - `http2`: whether requests may use HTTP/2; needs `httpx[http2]`.
    - `max_message`: how many bytes a message may have. A larger one counts as a connection that broke.
    - `on_status`: called when `status` changes.

    It connects when something is subscribed to, and is to be closed: use it with `async with`, or call `aclose`.
    """

    def __init__(
        self,
        url: str,
        *,
        token: Token = None,
        name: str | None = None,
        transports: Sequence[Transport] = TRANSPORTS,
        poll_interval: float = 5.0,
        headers: Mapping[str, str] | None = None,
        ssl: tls.SSLContext | None = None,
        http2: bool = False,
        max_message: int = 16 * 1024 * 1024,
        on_status: Callable[[Status], None] | None = None,
    ) -> None:
        for transport in transports:
            if transport not in TRANSPORTS:
                raise ValueError(f"{transport!r} is not a transport of this client: write {', '.join(TRANSPORTS)}")
        if not transports:
            raise ValueError("there is no transport to use")
        self._http = Http(
            url,
            token=token,
            name=name,
            headers=headers or {},
            context=ssl,
            http2=http2,
            max_message=max_message,
        )
        self._connection = Connection(self._http, tuple(transports), poll_interval, self)
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._status = Status()
        self._is_stuck = False
        self._on_status = on_status
        self._naps: set[asyncio.Event] = set()

    @property
    def status(self) -> Status:
        """How the connection is."""
        return self._status

    @property
    def state(self) -> State:
        return self._status.state

    @property
    def transport(self) -> Transport | None:
        """The transport that works, while the state is `live`."""
        return self._status.transport

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Ends every subscription and the connection."""
        self.take_status(Status("closed"))
        for subscription in [each for list_ in self._subscriptions.values() for each in list_]:
            await subscription.aclose()
        await self._connection.aclose()
        await self._http.aclose()

    def subscribe(
        self,
        channel: str,
        *,
        after: Position | str | int | None = None,
        presence: bool = False,
        buffer: int = 1000,
    ) -> Subscription:
        """Reads a channel. To be called where an event loop runs; it begins at once.

        - `after`: where to begin: a position, `now` (the default), `earliest`, `-50` (the last fifty, also as a number) or `10m`
          (the last ten minutes).
        - `presence`: whether to give `Join` and `Leave`, too, which come while the transport is a WebSocket.
        - `buffer`: how many items wait in memory for the application.
        """
        if self.state == "closed":
            raise SockeyeError("The client is closed.")
        if "," in channel:
            raise ValueError(f"'{channel}' are several channels: subscribe to each")
        if channel not in self._subscriptions and len(self._subscriptions) >= MOST_CHANNELS:
            raise ValueError(f"a client reads at most {MOST_CHANNELS} channels: make another one")
        subscription = Subscription(self, channel, str(after or "now"), presence, buffer)
        self._subscriptions.setdefault(channel, []).append(subscription)
        self.changed()
        return subscription

    async def publish(self, channel: str, data: object, *, event: str | None = None, key: str | None = None) -> Position:
        """Publishes text (`str`), bytes or JSON (all else), and gives its position once the server has it.

        - `event`: the event's name: 1 to 64 visible ASCII characters.
        - `key`: publications with the same key are one. Default: a new key, so that a retry is not a repeat.

        It tries again while that may help, and raises a `SockeyeError` when the server refuses, or cannot be reached for long.
        """
        publication = Publication.of(channel, data, event, key or secrets.token_hex(12))
        for failures in range(PUBLISH_ATTEMPTS):
            try:
                live = self._connection.publish(publication) if failures == 0 else None
                return await (live or self._http.publish(publication))
            except SockeyeError as error:
                if not error.is_transient or failures + 1 == PUBLISH_ATTEMPTS or self.state == "closed":
                    raise
                await asyncio.sleep(max(error.retry_after, backoff(failures)))
        raise AssertionError("the last attempt returns or raises")

    async def read(self, channel: str, *, after: Position | str | int | None = None, limit: int = 1000) -> Page:
        """A page of a channel's history, after a position; without one, the last `limit` messages."""
        return await self._http.page(channel, after=None if after is None else str(after), limit=limit)

    async def presence(self, channel: str, *, after: str | None = None, limit: int = 1000) -> Presence:
        """The members present on a channel, on any transport: the first `limit` whose ids come after `after`."""
        return await self._http.presence(channel, after, limit)

    def retry(self) -> None:
        """Connects now, if it was waiting to, and tries better transports."""
        for nap in self._naps:
            nap.set()
        self._connection.wake()

    # What subscriptions ask for.

    async def read_on(self, channel: str, after: str) -> Page:
        failures = 0
        while True:
            try:
                return await self._http.page(channel, after=after, limit=1000)
            except SockeyeError as error:
                if not error.is_transient:
                    raise
                delay = max(error.retry_after, backoff(failures))
                failures += 1
                self._stuck(Status("waiting", retry_at=time.time() + delay, error=error))
                await self._nap(delay)

    def changed(self) -> None:
        """Tells the connection what is read."""
        for channel, subscriptions in self._subscriptions.items():
            settled = [each for each in subscriptions if not each.is_pending]
            if settled:
                at = next((each.head for each in settled if each.head), None)
                self._connection.want(channel, at, any(each.presence for each in settled))
        self._connection.keep_only(set(self._subscriptions))

    def closed(self, subscription: Subscription) -> None:
        subscriptions = self._subscriptions.get(subscription.channel, [])
        if subscription in subscriptions:
            subscriptions.remove(subscription)
        if not subscriptions:
            self._subscriptions.pop(subscription.channel, None)
        self._connection.keep_only(set(self._subscriptions))

    # What the connection tells.

    def take_status(self, status: Status) -> None:
        before, self._status = self._status, status
        if before.state == "closed":
            self._status = before
            return
        self._is_stuck = False
        if self._on_status is not None and status != before:
            self._on_status(status)

    def take(self, channel: str, prev: Position, item: Message | Gap | End | None, size: int) -> None:
        for subscription in list(self._subscriptions.get(channel, ())):
            subscription.take(prev, item, size)

    def take_change(self, channel: str, change: Join | Leave) -> None:
        for subscription in self._subscriptions.get(channel, ()):
            subscription.take_change(change)

    def take_error(self, channel: str, error: SockeyeError) -> None:
        for subscription in list(self._subscriptions.get(channel, ())):
            subscription.fail(error)

    def _stuck(self, status: Status) -> None:
        """A history cannot be read yet, and nothing else is: that is the status then."""
        if self.state == "idle" or self._is_stuck:
            self.take_status(status)
            self._is_stuck = True

    async def _nap(self, seconds: float) -> None:
        nap = asyncio.Event()
        self._naps.add(nap)
        try:
            async with asyncio.timeout(seconds):
                await nap.wait()
        except TimeoutError:
            pass
        finally:
            self._naps.discard(nap)
