"""One attempt to read the channels over one transport, from its opening to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._errors import SockeyeError
from ._http import Http
from ._messages import Position, Publication
from ._status import Transport

if TYPE_CHECKING:
    from ._connection import Connection

FIRST_AGAIN_AFTER = 60.0


@dataclass(slots=True)
class Way:
    """A transport that may be used."""

    name: Transport
    rank: int
    blocked_until: float = 0.0
    penalty: float = FIRST_AGAIN_AFTER
    """For how many seconds it is left alone when it fails next."""


@dataclass(slots=True)
class Channel:
    """A channel that is read, and where it was read to."""

    name: str
    at: Position | None
    presence: bool = False


@dataclass(slots=True)
class Ending:
    """Why an attempt ended; without an error it was ended from here."""

    error: SockeyeError | None = None


class Attempt:
    """What the transports have in common. Made and ended on the connection's event loop."""

    def __init__(self, connection: Connection, http: Http, way: Way) -> None:
        self.connection = connection
        self.http = http
        self.way = way
        self.since = 0.0
        """When it first delivered."""
        self.retry_after = 0.0
        """After how many seconds the server wants the client back, if it said so."""
        self.bye = False
        """Whether the server ended it on purpose."""
        self.delivered = asyncio.Event()
        self.ended: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        raise NotImplementedError

    def open(self, channel: Channel) -> None:
        """Reads this channel, too."""
        raise NotImplementedError

    def shut(self, name: str) -> None:
        """Reads this channel no longer."""
        raise NotImplementedError

    async def refresh(self) -> None:
        """Has the server know a fresh token."""
        raise NotImplementedError

    def probe(self) -> None:
        """Finds out whether the connection is alive."""

    def publish(self, publication: Publication) -> Coroutine[Any, Any, Position] | None:
        """Publishes over this connection, where that is possible."""
        return None

    @property
    def is_over(self) -> bool:
        return self.ended.done()

    def works(self) -> None:
        """It has delivered: opening alone proves nothing."""
        if self.since or self.is_over:
            return
        self.since = time.monotonic()
        self.spawn(self._renew())
        self.connection.works(self)
        self.delivered.set()

    def end(self, error: SockeyeError | None = None) -> None:
        if self.is_over:
            return
        self.ended.set_result(Ending(error))
        for task in self._tasks:
            task.cancel()
            self.connection.finishing.add(task)
            task.add_done_callback(self.connection.finishing.discard)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs something that ends with the attempt. When it fails, that is the attempt's end."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, SockeyeError):
            self.end(error)
        elif error is not None:
            self.end(SockeyeError(str(error) or type(error).__name__))

    async def _renew(self) -> None:
        """A token that expires ends what it opened, unless a fresh one comes first."""
        while True:
            left = self.http.fresh_until - time.monotonic()
            await asyncio.sleep(min(max(left + 0.01, 1.0), 86_400.0))
            if time.monotonic() < self.http.fresh_until:
                continue
            try:
                await self.refresh()
            except SockeyeError as error:
                # Where a fresh token cannot be had now, it is asked for again while the old one lasts.
                if error.status is not None:
                    self.end(error)
