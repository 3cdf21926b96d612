"""How long to wait before the next attempt, in seconds."""

from __future__ import annotations

import random

BASE = 0.5
CAP = 30.0


def backoff(failures: int) -> float:
    """Any time up to a bound that doubles: clients that were cut together reconnect at different times."""
    return random.random() * min(CAP, BASE * 2.0 ** min(failures, 10))


def about(seconds: float) -> float:
    """The time, a tenth more or less."""
    return seconds * (0.9 + random.random() / 5)
