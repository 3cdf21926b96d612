"""A parser of event streams, fed piece by piece (WHATWG HTML §9.2.6)."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator

from ._errors import SockeyeError

_END = re.compile(r"\r\n|\n|\r")


class EventParser:
    """Gives the fields of each event: `data`, `event`, `id`, `retry`. An event has at most `limit` characters."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._is_first = True
        self._rest: list[str] = []
        self._event: dict[str, str] = {}
        self._data: list[str] = []
        self._length = 0

    def feed(self, data: bytes) -> Iterator[dict[str, str]]:
        text = self._decode(data)
        if self._is_first and text:
            self._is_first = False
            text = text.removeprefix("\ufeff")
        self._length += len(text)
        if self._length > self._limit:
            raise SockeyeError("The server sent an event that is too long.")
        # Most pieces of a long line have no end in them.
        ends_before = bool(self._rest) and self._rest[-1].endswith("\r")
        if text:
            self._rest.append(text)
        if not ends_before and not _END.search(text):
            return
        whole = "".join(self._rest)
        # A CR at the very end may be half the end of a line.
        held = "\r" if whole.endswith("\r") else ""
        *lines, rest = _END.split(whole[: len(whole) - len(held)])
        self._rest = [rest + held] if rest or held else []
        for line in lines:
            yield from self._line(line)

    def _line(self, line: str) -> Iterator[dict[str, str]]:
        if not line:
            event, self._event = self._event, {}
            if self._data:
                event["data"] = "\n".join(self._data)
                self._data = []
            self._length = sum(map(len, self._rest))
            yield event
            return
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "data":
            self._data.append(value)
        elif field in ("event", "id", "retry"):
            self._event[field] = value
