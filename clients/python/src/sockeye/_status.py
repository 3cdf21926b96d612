"""What a client tells of its connection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ._errors import SockeyeError

Transport = Literal["v1", "sse", "longpoll", "poll"]
"""The transports by the words of the server: `v1` is a WebSocket that speaks `sockeye.v1`, `sse` Server-Sent Events."""

State = Literal["idle", "connecting", "live", "waiting", "closed"]
"""`idle`: there is no subscription. `waiting`: until `Status.retry_at`, then it connects again."""

TRANSPORTS: tuple[Transport, ...] = ("v1", "sse", "longpoll", "poll")
"""All of them, best first."""


@dataclass(frozen=True, slots=True)
class Status:
    """How the connection is."""

    state: State = "idle"
    transport: Transport | None = None
    """The transport that works, while the state is `live`."""
    retry_at: float = 0.0
    """When it connects again, in seconds since 1970, while the state is `waiting`."""
    error: SockeyeError | None = None
    """Why the last attempt ended, while the state is `waiting`."""
