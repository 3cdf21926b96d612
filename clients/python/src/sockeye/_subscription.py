"""One reader of one channel. Made by `AsyncClient.subscribe`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from types import TracebackType
from typing import Protocol

from ._errors import SockeyeError
from ._messages import End, Gap, Item, Join, Leave, Message, Page, Position
from ._position import is_past, same_epoch

BUFFER_BYTES = 16 * 1024 * 1024
"""How many bytes of messages wait for the application; the largest page may come on top."""
LAG_FIRST, LAG_MOST = 0.05, 2.0
"""How long it waits for a page that is known to come, in seconds."""


class Owner(Protocol):
    """What a subscription needs of its client."""

    def read_on(self, channel: str, after: str) -> Awaitable[Page]:
        """A page, however long that takes."""

    def changed(self) -> None:
        """It is known where it begins."""

    def closed(self, subscription: Subscription) -> None: ...


class Subscription:
    """Messages and gaps of a channel, in order: `async for item in subscription`.

    It reconnects by itself, continues where it was, and tells of gaps. What the application has not taken yet waits in memory, up
    to `buffer` items or 16 MiB; what is beyond that is read from the server's history later. Used with `async with`, or closed with
    `aclose`, it ends; when the server refuses the channel, iterating raises a `SockeyeError`.
    """

    def __init__(self, owner: Owner, channel: str, after: str, presence: bool, buffer: int) -> None:
        self.channel = channel
        self.presence = presence
        self.at: Position | None = after if "." in after else None
        """The position of the last item that the application has taken; keep it to go on from there another time."""
        self.has_ended = False
        """Whether the channel has ended: what waits in memory is the last of it."""
        self._owner = owner
        self._after = after
        self._buffer = buffer
        self._head: Position | None = self.at
        """Up to where the queue reaches."""
        self._seen: Position | None = None
        """Where the connection stands."""
        self._queue: deque[tuple[Item, int]] = deque()
        # Each is counted by one thread alone: what is put by the event loop's, what is taken by the application's.
        self._put_bytes = 0
        self._taken_bytes = 0
        self._arrived = asyncio.Event()
        self._has_room = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None
        self._failure: SockeyeError | None = None
        self._is_closed = False
        self._ready: asyncio.Future[Position] = asyncio.get_running_loop().create_future()
        if after != "now" and self._head is None:
            self._read_on()
        else:
            self._begins(self._head)

    async def ready(self) -> Position:
        """Waits until it is known where the subscription begins: whatever is published after that comes."""
        return await asyncio.shield(self._ready)

    async def aclose(self) -> None:
        """Ends the subscription. What waits in memory can still be taken."""
        self._close()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._close()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Item:
        await self._available()
        item = self._pop()
        if item is not None:
            return item
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    # What the client tells.

    @property
    def is_pending(self) -> bool:
        """Whether it is not known yet where it begins, because it still fetches the history."""
        return self._head is None and self._reading is not None

    @property
    def head(self) -> Position | None:
        return self._head

    def take(self, prev: Position, item: Message | Gap | End | None, size: int) -> None:
        """The connection stood at `prev`, and then this came, or nothing yet."""
        self._seen = item.at if item is not None else prev
        # While it reads on by itself, it does so until it is there.
        if self._is_closed or self._reading is not None:
            return
        if self._head is None:
            self._begins(prev)
        head = self._head or prev
        if (prev != head and is_past(prev, head)) or (isinstance(item, Message) and self._is_full(1.0)):
            self._read_on()
        elif isinstance(item, Gap):
            # A new epoch begins with a gap.
            if prev == head or is_past(item.next, head):
                self._put(item, item.next, 0)
        elif isinstance(item, End):
            self._end(item.at)
        elif item is not None and (prev == head or (same_epoch(item.at, head) and is_past(item.at, head))):
            self._put(item, item.at, size)

    def take_change(self, change: Join | Leave) -> None:
        if self.presence and not self._is_closed and not self._is_full(1.0):
            self._put(change, self._head, 0)

    def fail(self, error: SockeyeError) -> None:
        """The server does not give this channel."""
        if self._is_closed:
            return
        self._failure = error
        if not self._ready.done():
            self._ready.set_exception(error)
            # Where no task asks for it, asyncio does not complain.
            self._ready.exception()
        self._close()

    def _end(self, at: Position) -> None:
        """The channel has ended: so does the subscription, once everything before was taken."""
        if not self._is_closed:
            self.has_ended = True
            self._begins(self._head or at)
            self._close()

    def _close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        if self._reading is not None:
            self._reading.cancel()
        if not self._ready.done():
            self._ready.set_exception(SockeyeError("The subscription is closed."))
            self._ready.exception()
        self._owner.closed(self)
        self._arrived.set()

    def _begins(self, at: Position | None) -> None:
        self._head = at
        if at is None or self._ready.done():
            return
        if self.at is None and not self._queue:
            self.at = at
        self._ready.set_result(at)

    # The queue.

    def _is_full(self, part: float) -> bool:
        """Whether this part of what may wait in memory does."""
        return len(self._queue) >= self._buffer * part or self._put_bytes - self._taken_bytes >= BUFFER_BYTES * part

    def _put(self, item: Item, at: Position | None, size: int) -> None:
        self._head = at
        self._put_bytes += size
        self._queue.append((item, size))
        self._arrived.set()

    def _pop(self) -> Item | None:
        """The next item, if there is one. The only thing here that another thread may call."""
        try:
            item, size = self._queue.popleft()
        except IndexError:
            return None
        self._taken_bytes += size
        if isinstance(item, (Message, Gap)):
            self.at = item.at
        return item

    async def _available(self) -> None:
        """Waits until there is an item, or the end."""
        while not self._queue and not self._is_closed:
            self._has_room.set()
            self._arrived.clear()
            await self._arrived.wait()
        if self._reading is not None:
            self._has_room.set()

    # Reading on: its own pages, until it is where the connection is.

    def _read_on(self) -> None:
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            lag = LAG_FIRST
            while True:
                while self._is_full(0.5):
                    self._has_room.clear()
                    await self._has_room.wait()
                page = await self._owner.read_on(self.channel, self._head or self._after)
                self._take_page(page)
                if page.end:
                    self._reading = None
                    self._end(page.at)
                    return
                if not self._is_behind(page):
                    break
                if not (page.messages or page.gap):
                    await asyncio.sleep(lag)
                    lag = min(lag * 2, LAG_MOST)
        except Exception as error:
            self._reading = None
            self.fail(error if isinstance(error, SockeyeError) else SockeyeError(repr(error)))
            return
        self._reading = None
        self._owner.changed()

    def _take_page(self, page: Page) -> None:
        if page.gap:
            self._put(page.gap, page.gap.next, 0)
        for message in page.messages:
            self._put(message, message.at, page.size // len(page.messages))
        self._head = page.at
        self._begins(page.at)

    def _is_behind(self, page: Page) -> bool:
        if self._seen is None or self._head is None or not is_past(self._seen, self._head):
            return False
        # The connection may be the one that does not know yet that another epoch has begun.
        return same_epoch(self._seen, self._head) or bool(page.messages or page.gap)


