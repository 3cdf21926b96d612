"""Where each channel was read to, and one attempt that reads on; another when it ends."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Coroutine
from typing import Any, Protocol

from ._attempt import Attempt, Channel, Way
from ._backoff import backoff
from ._errors import SockeyeError
from ._http import LONGEST_RETRY_AFTER, Http
from ._messages import End, Gap, Join, Leave, Message, Page, Position, Publication
from ._position import is_past
from ._requests import LongPollAttempt, PollAttempt, StreamAttempt
from ._socket import SocketAttempt
from ._status import Status, Transport

ATTEMPTS: dict[Transport, type[Attempt]] = {
    "v1": SocketAttempt,
    "sse": StreamAttempt,
    "longpoll": LongPollAttempt,
    "poll": PollAttempt,
}
FLAPPING = 5.0
"""An attempt that is cut this soon after it first delivered shows that its transport does not work here."""
STABLE = 60.0
"""How long an attempt lasts until the failures before it are forgotten."""
KNOWN_AGAIN_AFTER = 3.0
"""How long a transport that has worked before is left alone when it fails."""
LAST_AGAIN_AFTER = 900.0
LINGER = 2.0
"""How long an attempt without channels is kept, in case one is subscribed to."""


class Reader(Protocol):
    """What a connection tells what it reads to."""

    def take_status(self, status: Status) -> None: ...

    def take(self, channel: str, prev: Position, item: Message | Gap | End | None, size: int) -> None:
        """The connection stood at `prev`, and then came this, or nothing yet."""

    def take_change(self, channel: str, change: Join | Leave) -> None: ...

    def take_error(self, channel: str, error: SockeyeError) -> None:
        """The server does not give this channel."""


class Connection:
    def __init__(self, http: Http, transports: tuple[Transport, ...], poll_interval: float, reader: Reader) -> None:
        self.poll_interval = poll_interval
        self.finishing: set[asyncio.Task[None]] = set()
        """What belonged to attempts that have ended, and cleans up."""
        self._http = http
        self._reader = reader
        self._ways = [Way(name, rank) for rank, name in enumerate(transports)]
        self._channels: dict[str, Channel] = {}
        self._attempt: Attempt | None = None
        self._climber: Attempt | None = None
        self._climbing: asyncio.Task[None] | None = None
        self._climb_timer: asyncio.TimerHandle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None
        self._keeping: asyncio.Task[None] | None = None
        self._awake = asyncio.Event()
        self._failures = 0
        self._is_closed = False
        self._status = Status()

    @property
    def channels(self) -> list[Channel]:
        return list(self._channels.values())

    def reads(self, channel: Channel) -> bool:
        """Whether it is still this that is read, and no other of the same name."""
        return self._channels.get(channel.name) is channel

    def want(self, name: str, at: Position | None, presence: bool) -> None:
        """This channel is read from `at` on. Tells where the connection stands."""
        channel = self._channels.get(name)
        is_new = channel is None
        if channel is None:
            channel = self._channels[name] = Channel(name, at)
        if is_new or (presence and not channel.presence):
            channel.presence = presence
            for attempt in (self._attempt, self._climber):
                if attempt is not None:
                    if not is_new:
                        attempt.shut(name)
                    attempt.open(channel)
            if self._keeping is None:
                self._keeping = asyncio.create_task(self._keep())
        if channel.at:
            self._reader.take(name, channel.at, None, 0)

    def keep_only(self, names: set[str]) -> None:
        """No other channels than these are read any more."""
        for name in set(self._channels) - names:
            self._drop(name)

    def _drop(self, name: str) -> None:
        if self._channels.pop(name, None) is None:
            return
        for attempt in (self._attempt, self._climber):
            if attempt is not None:
                attempt.shut(name)
        if not self._channels:
            _cancel(self._linger_timer)
            self._linger_timer = asyncio.get_running_loop().call_later(LINGER, self._end_unused)

    def _end_unused(self) -> None:
        if not self._channels and self._attempt is not None:
            self._attempt.end()

    def publish(self, publication: Publication) -> Coroutine[Any, Any, Position] | None:
        """Publishes over the WebSocket; `None` if there is none."""
        attempt = self._attempt
        return attempt.publish(publication) if attempt is not None and attempt.since else None

    def wake(self) -> None:
        """There is reason to try now: another network, the end of a sleep, or a call of `retry`."""
        for way in self._ways:
            way.blocked_until = 0.0
        self._awake.set()
        if self._attempt is not None and self._attempt.since:
            self._attempt.probe()
            self._climb_later()

    async def aclose(self) -> None:
        self._is_closed = True
        _cancel(self._climb_timer)
        _cancel(self._linger_timer)
        for attempt in (self._attempt, self._climber):
            if attempt is not None:
                attempt.end()
        self._awake.set()
        tasks = [task for task in (self._keeping, self._climbing, *self.finishing) if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)

    def stands(self, channel: Channel, at: Position) -> None:
        """The server said where a channel begins that is read from now on."""
        if channel.at is None:
            channel.at = at
            self._reader.take(channel.name, at, None, 0)

    def took(self, name: str, item: Message | Gap | End, size: int) -> None:
        """Something came of a channel. For a moment two attempts may bring it; what has come counts once."""
        channel = self._channels.get(name)
        if channel is None:
            return
        prev = channel.at
        counts = isinstance(item, End) or (isinstance(item, Gap) and item.after == prev)
        if prev and not counts and not is_past(item.at, prev):
            return
        channel.at = item.at
        self._reader.take(name, prev or item.at, item, size)
        # Nothing follows: it is not read again, on whatever transport.
        if isinstance(item, End):
            self._drop(name)

    def took_page(self, name: str, page: Page) -> None:
        if page.gap:
            self.took(name, page.gap, 0)
        for message in page.messages:
            self.took(name, message, page.size // len(page.messages))
        channel = self._channels.get(name)
        if channel is not None and page.at:
            self.stands(channel, page.at)
        if page.end:
            self.took(name, End(page.at), 0)

    def changed(self, name: str, change: Join | Leave) -> None:
        """A member of a channel has come or gone."""
        if name in self._channels:
            self._reader.take_change(name, change)

    def refused(self, name: str, error: SockeyeError) -> None:
        """The server refuses this channel."""
        self._reader.take_error(name, error)
        self._drop(name)

    def works(self, attempt: Attempt) -> None:
        """An attempt has delivered: it is the one from now on."""
        before, self._attempt = self._attempt, attempt
        if before is not None and before is not attempt:
            before.end()
        self._say(Status("live", attempt.way.name))
        self._climb_later()

    def _say(self, status: Status) -> None:
        self._status = status
        self._reader.take_status(status)

    async def _keep(self) -> None:
        while self._channels and not self._is_closed:
            attempt = self._attempt
            if attempt is None:
                self._say(Status("connecting", error=self._status.error))
                attempt = self._attempt = self._start(self._best() or self._ways[0])
            ending = await attempt.ended
            # Another may have taken its place meanwhile.
            if self._attempt is not attempt:
                continue
            self._attempt = None
            if ending.error and self._channels and not self._is_closed:
                await self._judge(attempt, ending.error)
        self._keeping = None
        if not self._is_closed:
            self._say(Status())

    def _start(self, way: Way) -> Attempt:
        attempt = ATTEMPTS[way.name](self, self._http, way)
        attempt.start()
        return attempt

    def _best(self) -> Way | None:
        now = time.monotonic()
        return next((way for way in self._ways if way.blocked_until <= now), None)

    async def _judge(self, attempt: Attempt, error: SockeyeError) -> None:
        """An attempt ended. Was it its transport? And how long to wait now?"""
        lived = time.monotonic() - attempt.since if attempt.since else 0.0
        if lived >= STABLE:
            self._failures = 0
        if lived >= FLAPPING:
            attempt.way.penalty = KNOWN_AGAIN_AFTER
        elif not attempt.bye and not error.retry_after and not (error.status == 401 and error.code):
            # A 401 without a word of the server's is of something in between, and says nothing of the token.
            self._block(attempt.way)
            if self._best() and not self._failures:
                return
        # None works, so it is not the transports; it may be the network, or the server.
        if not self._best():
            for way in self._ways:
                way.blocked_until = 0.0
        wished = min(max(attempt.retry_after, error.retry_after), LONGEST_RETRY_AFTER)
        delay = max(wished, backoff(self._failures))
        self._failures += 1
        await self._wait(delay, error)

    def _block(self, way: Way) -> None:
        way.blocked_until = time.monotonic() + way.penalty * random.uniform(0.5, 1.0)
        way.penalty = min(way.penalty * 2, LAST_AGAIN_AFTER)

    async def _wait(self, delay: float, error: SockeyeError) -> None:
        self._say(Status("waiting", retry_at=time.time() + delay, error=error))
        self._awake.clear()
        try:
            async with asyncio.timeout(delay):
                await self._awake.wait()
        except TimeoutError:
            pass

    def _climb_later(self) -> None:
        """While a lesser transport works, a better one is tried beside it, and takes its place once it has delivered."""
        _cancel(self._climb_timer)
        if self._attempt is None or self._climbing is not None or self._is_closed:
            return
        better = [way.blocked_until for way in self._ways[: self._attempt.way.rank]]
        if better:
            delay = max(0.0, min(better) - time.monotonic())
            self._climb_timer = asyncio.get_running_loop().call_later(delay, self._climb)

    def _climb(self) -> None:
        way, attempt = self._best(), self._attempt
        if attempt is not None and attempt.since and way is not None and way.rank < attempt.way.rank:
            self._climbing = asyncio.create_task(self._try(way))

    async def _try(self, way: Way) -> None:
        climber = self._climber = self._start(way)
        delivered = asyncio.create_task(climber.delivered.wait())
        await asyncio.wait((climber.ended, delivered), return_when=asyncio.FIRST_COMPLETED)
        delivered.cancel()
        self._climber = self._climbing = None
        if not climber.since and not self._is_closed:
            self._block(way)
        if self._attempt is not None and self._attempt.since:
            self._climb_later()


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
