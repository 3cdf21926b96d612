"""Positions, `<epoch>.<offset>`: the same on every transport. Offsets rise; an epoch changes only when data was lost."""

from __future__ import annotations

LONGEST = 255


def is_past(position: str, other: str) -> bool:
    """Whether a position is past another. Those of two epochs cannot be compared; another epoch is news."""
    return not same_epoch(position, other) or _offset(position) > _offset(other)


def same_epoch(position: str, other: str) -> bool:
    return position.partition(".")[0] == other.partition(".")[0]


def _offset(position: str) -> int:
    return int(position.partition(".")[2])


def checked(position: object) -> str:
    """A position from a peer, if it is one."""
    if isinstance(position, str) and len(position) <= LONGEST:
        epoch, _, offset = position.partition(".")
        if epoch and offset.isascii() and offset.isdigit() and len(offset) <= 20:
            return position
    raise ValueError(f"{position!r:.80} is not a position")
