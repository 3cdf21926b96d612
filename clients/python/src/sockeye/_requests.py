"""The three transports over plain HTTP: Server-Sent Events, long polls, polls. Each reads its channels one by one."""

from __future__ import annotations

import asyncio
import time

from ._attempt import Attempt, Channel
from ._backoff import about
from ._errors import SockeyeError
from ._events import EventParser
from ._http import ANSWER_WITHIN, SMALL, channel_path
from ._messages import End, gap_from, message_from, parsed, position_from

PAGE = 1000
HELD_REQUESTS = 64
"""How many channels have a request of their own that the server holds; the ones after these are polled."""
FIRST_WITHIN = 5.0
"""A stream that has brought nothing by then is held back on the way."""
SILENT = 40.0
"""The server sends a comment every 15 seconds."""
HOLD_FIRST = 2
"""For how many seconds the server holds the first long poll: to see whether that gets through."""
HOLD_THEN = 25
FINAL = (400, 401, 403, 404)
"""The statuses with which the server refuses a channel."""


class RequestAttempt(Attempt):
    def start(self) -> None:
        self._loops: dict[str, asyncio.Task[None]] = {}
        self._heard_at = time.monotonic()
        for channel in self.connection.channels:
            self.open(channel)

    async def listen(self, channel: Channel) -> None:
        raise NotImplementedError

    def open(self, channel: Channel) -> None:
        if channel.name not in self._loops and not self.is_over:
            self._loops[channel.name] = self.spawn(self._read(channel, len(self._loops) < HELD_REQUESTS))

    def shut(self, name: str) -> None:
        loop = self._loops.pop(name, None)
        if loop is not None:
            loop.cancel()

    async def _read(self, channel: Channel, may_hold: bool) -> None:
        try:
            await (self.listen(channel) if may_hold else self.poll(channel))
        except SockeyeError as error:
            if error.code is None or error.status not in FINAL:
                raise
            self.connection.refused(channel.name, error)

    def heard(self) -> None:
        self._heard_at = time.monotonic()
        self.works()

    async def poll(self, channel: Channel) -> None:
        while True:
            if not await self.page(channel, 0):
                await asyncio.sleep(about(self.connection.poll_interval))

    async def page(self, channel: Channel, wait: int) -> bool:
        """Polls once, held by the server for `wait` seconds. Gives whether there may be more at once."""
        # A poll that waits counts as listening, one that does not has to say so.
        page = await self.http.page(
            channel.name,
            after=channel.at or "now",
            limit=PAGE,
            wait=wait,
            presence=not wait,
            at=None if wait else channel.at,
        )
        self.heard()
        self.connection.took_page(channel.name, page)
        if page.retry_after:
            raise SockeyeError("The server ended the poll.", retry_after=page.retry_after)
        return page.is_full

    async def refresh(self) -> None:
        """Begun anew with a fresh token, from the same position."""
        self.end()

    def probe(self) -> None:
        if time.monotonic() - self._heard_at > SILENT / 2:
            self.end()


class StreamAttempt(RequestAttempt):
    """Server-Sent Events."""

    async def listen(self, channel: Channel) -> None:
        query = {"meta": 1, "after": channel.at or "now"}
        # As a browser's `EventSource` does: the server begins with the position, in a block of its own.
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache", "Pragma": "no-cache"}
        parser = EventParser(self.http.max_message * 6 + SMALL)
        try:
            # Everything after the first bytes is bounded by the silence that `open` allows.
            async with asyncio.timeout(FIRST_WITHIN + ANSWER_WITHIN) as deadline:
                async with self.http.open("GET", channel_path(channel.name), query=query, headers=headers, silent=SILENT) as response:
                    if not response.headers.get("Content-Type", "").startswith("text/event-stream"):
                        raise SockeyeError("That is no event stream.")
                    deadline.reschedule(asyncio.get_running_loop().time() + FIRST_WITHIN)
                    async for chunk in response.aiter_bytes():
                        deadline.reschedule(None)
                        self.heard()
                        for event in parser.feed(chunk):
                            self._event(channel, event)
        except TimeoutError as error:
            raise SockeyeError("The event stream brings nothing.") from error
        raise SockeyeError("The event stream ended.")

    def _event(self, channel: Channel, event: dict[str, str]) -> None:
        if event.get("retry", "").isdigit():
            self.retry_after = int(event["retry"]) / 1000
        if data := event.get("data"):
            value = parsed(data)
            name = channel.name
            if value.get("end") is True:
                self.connection.took(name, End(position_from(value.get("at"))), 0)
                return
            item = gap_from(name, value) if event.get("event") == "gap" else message_from(name, value)
            self.connection.took(name, item, len(data))
        elif position := event.get("id"):
            self.connection.stands(channel, position_from(position))


class LongPollAttempt(RequestAttempt):
    """Long polls: the server answers when there is a message. They get through where streams are held back."""

    async def listen(self, channel: Channel) -> None:
        wait = 0
        while True:
            if not await self.page(channel, wait):
                wait = round(about(HOLD_THEN)) if wait else HOLD_FIRST


class PollAttempt(RequestAttempt):
    """Polls at intervals: what is left when nothing else gets through."""

    async def listen(self, channel: Channel) -> None:
        await self.poll(channel)
