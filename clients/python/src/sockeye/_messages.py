"""What is read and what is published."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ._errors import SockeyeError
from ._position import checked

Position = str
"""Where a reader stands in a channel: `<epoch>.<offset>`, the same on every transport."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a channel."""

    channel: str
    at: Position
    ts: int
    """When the server took it: milliseconds since 1970."""
    data: Any
    """What was published: text as `str`, bytes as `bytes`, JSON as `json.loads` gives it."""
    event: str | None = None
    """The event's name, if it has one."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Messages are missing between `after` and `next`. It comes where they would have come."""

    channel: str
    after: Position
    next: Position
    why: Literal["expired", "slow", "reset"] | str
    """`expired`: no longer kept. `slow`: the reader could not follow. `reset`: the history was deleted or lost."""

    @property
    def at(self) -> Position:
        """The position to go on from."""
        return self.next


@dataclass(frozen=True, slots=True)
class Member:
    """A subscriber of a channel that has a name."""

    id: str
    since: int
    """When it came: milliseconds since 1970."""


@dataclass(frozen=True, slots=True)
class Join:
    """A member has come."""

    channel: str
    member: Member


@dataclass(frozen=True, slots=True)
class Leave:
    """A member has gone."""

    channel: str
    member: Member


@dataclass(frozen=True, slots=True)
class End:
    """The channel has ended: nothing follows."""

    at: Position


Item = Message | Gap | Join | Leave
"""What a subscription gives. `Join` and `Leave` come only to those who ask for `presence`."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a channel's history."""

    at: Position
    """Where to go on."""
    messages: list[Message]
    gap: Gap | None = None
    """Messages are missing before the first."""
    end: bool = False
    """Whether the channel has ended, and nothing follows."""
    is_full: bool = False
    """Whether there may be more at once."""
    retry_after: float = 0.0
    """In how many seconds the server wants to be asked again, if it says so."""
    size: int = 0
    """How many bytes it had."""


@dataclass(frozen=True, slots=True)
class Presence:
    """The members of a channel: how many in all, and a page of those with a name."""

    count: int
    members: list[Member]
    next: str | None = None
    """The `after` of the next page, if there is one."""


@dataclass(frozen=True, slots=True)
class Publication:
    """What is to be published, as it goes over HTTP and over a WebSocket."""

    channel: str
    content_type: str
    body: bytes
    member: str
    """`"data":…` or `"b64":…`."""
    event: str | None
    key: str

    @staticmethod
    def of(channel: str, data: object, event: str | None, key: str) -> Publication:
        for name, value in (("event", event), ("key", key)):
            if value is not None and not (value.isascii() and value.isprintable() and value.strip() == value != ""):
                raise ValueError(f"{name} must be visible ASCII characters, not {value!r:.80}")
        if isinstance(data, (bytes, bytearray, memoryview)):
            body, member = bytes(data), f'"b64":"{base64.b64encode(data).decode()}"'
            return Publication(channel, "application/octet-stream", body, member, event, key)
        text = data if isinstance(data, str) else to_json(data)
        content_type = "text/plain;charset=utf-8" if isinstance(data, str) else "application/json"
        member = f'"data":{to_json(data) if isinstance(data, str) else text}'
        return Publication(channel, content_type, text.encode(), member, event, key)


def to_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def parsed(text: str | bytes) -> dict[str, Any]:
    """A JSON object from a peer."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise SockeyeError("The server sent something else than messages.")
    return value


def position_from(value: object) -> Position:
    try:
        return checked(value)
    except ValueError as error:
        raise SockeyeError(f"The server sent something else than a position: {error}") from error


def message_from(channel: str, value: Mapping[str, Any]) -> Message:
    try:
        data = base64.b64decode(value["b64"], validate=True) if "b64" in value else value["data"]
        event = value.get("event")
        return Message(channel, checked(value["at"]), int(value["ts"]), data, None if event is None else str(event))
    except (ValueError, TypeError, KeyError) as error:
        raise SockeyeError(f"The server sent a message that is none: {error!r:.80}") from error


def gap_from(channel: str, value: Mapping[str, Any]) -> Gap:
    try:
        return Gap(channel, str(value["after"]), checked(value["next"]), str(value["why"]))
    except (ValueError, TypeError, KeyError) as error:
        raise SockeyeError(f"The server sent a gap that is none: {error!r:.80}") from error


def member_from(value: Mapping[str, Any]) -> Member:
    try:
        return Member(str(value["id"]), int(value["since"]))
    except (ValueError, TypeError, KeyError) as error:
        raise SockeyeError(f"The server sent a member that is none: {error!r:.80}") from error
