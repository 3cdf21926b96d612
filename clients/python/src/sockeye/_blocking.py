"""Sockeye without asyncio: the same client, on an event loop of its own that a thread runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar, Unpack

from ._client import AsyncClient, Options
from ._errors import SockeyeError
from ._messages import Item, Page, Position, Presence
from ._status import State, Status, Transport
from ._subscription import Subscription

T = TypeVar("T")


class Client:
    """A server, and the channels on it that a program uses: `AsyncClient` for programs without asyncio, with the same options.

    A thread of its own keeps the connection. Every method may be called from any thread. `token` and `on_status` are called on
    other threads than yours. It is to be closed: use it with `with`, or call `close`.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        # What is wrong with the options is said before there is a thread.
        self._client = AsyncClient(url, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="sockeye", daemon=True)
        self._closing = threading.Lock()
        self._is_closed = False
        self._thread.start()

    @property
    def status(self) -> Status:
        """How the connection is."""
        return self._client.status

    @property
    def state(self) -> State:
        return self._client.state

    @property
    def transport(self) -> Transport | None:
        """The transport that works, while the state is `live`."""
        return self._client.transport

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Ends every subscription, the connection and the thread."""
        with self._closing:
            if self._is_closed:
                return
            self._wait_for(self._client.aclose())
            self._is_closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def subscribe(
        self,
        channel: str,
        *,
        after: Position | str | int | None = None,
        presence: bool = False,
        buffer: int = 1000,
    ) -> BlockingSubscription:
        """Reads a channel: see `AsyncClient.subscribe`."""

        async def subscribe() -> Subscription:
            return self._client.subscribe(channel, after=after, presence=presence, buffer=buffer)

        return BlockingSubscription(self, self._wait_for(subscribe()))

    def publish(self, channel: str, data: object, *, event: str | None = None, key: str | None = None) -> Position:
        """Publishes text (`str`), bytes or JSON (all else): see `AsyncClient.publish`."""
        return self._wait_for(self._client.publish(channel, data, event=event, key=key))

    def read(self, channel: str, *, after: Position | str | int | None = None, limit: int = 1000) -> Page:
        """A page of a channel's history, after a position; without one, the last `limit` messages."""
        return self._wait_for(self._client.read(channel, after=after, limit=limit))

    def presence(self, channel: str, *, after: str | None = None, limit: int = 1000) -> Presence:
        """The members present on a channel, on any transport: the first `limit` whose ids come after `after`."""
        return self._wait_for(self._client.presence(channel, after=after, limit=limit))

    def retry(self) -> None:
        """Connects now, if it was waiting to, and tries better transports."""
        if not self._is_closed:
            self._loop.call_soon_threadsafe(self._client.retry)

    def _wait_for(self, work: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
        """Runs this on the client's event loop, and waits for its result; interrupted, it ends that."""
        if self._is_closed or threading.current_thread() is self._thread:
            work.close()
            raise SockeyeError("The client is closed." if self._is_closed else "A callback of the client cannot wait for it.")
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except BaseException:
            future.cancel()
            raise

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()


class BlockingSubscription:
    """Messages and gaps of a channel, in order: `for item in subscription`. Otherwise as `Subscription`."""

    def __init__(self, client: Client, inner: Subscription) -> None:
        self._client = client
        self._inner = inner

    @property
    def channel(self) -> str:
        return self._inner.channel

    @property
    def at(self) -> Position | None:
        """The position of the last item that the application has taken; keep it to go on from there another time."""
        return self._inner.at

    @property
    def has_ended(self) -> bool:
        """Whether the channel has ended: what waits in memory is the last of it."""
        return self._inner.has_ended

    def ready(self, timeout: float | None = None) -> Position:
        """Waits until it is known where the subscription begins: whatever is published after that comes."""
        return self._client._wait_for(self._inner.ready(), timeout)

    def next(self, timeout: float | None = None) -> Item | None:
        """The next item; `None` at the end. Raises `TimeoutError` when none has come after `timeout` seconds."""
        while True:
            item = self._inner._pop()
            if item is not None:
                if self._inner._reading is not None:
                    self._make_room()
                return item
            if self._inner._failure is not None:
                raise self._inner._failure
            if self._inner._is_closed:
                return None
            self._client._wait_for(self._inner._available(), timeout)

    def close(self) -> None:
        """Ends the subscription. What waits in memory can still be taken."""
        if not self._inner._is_closed:
            self._client._wait_for(self._inner.aclose())

    def __enter__(self) -> BlockingSubscription:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __iter__(self) -> BlockingSubscription:
        return self

    def __next__(self) -> Item:
        item = self.next()
        if item is None:
            raise StopIteration
        return item

    def _make_room(self) -> None:
        if not self._inner._is_full(0.5):
            self._client._loop.call_soon_threadsafe(self._inner._has_room.set)


