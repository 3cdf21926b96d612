"""Sockeye in Python: channels to read and to write, over whatever gets through.

    async with sockeye.AsyncClient("https://example.org/") as client:
        await client.publish("chat", {"text": "hello"})
        async for item in client.subscribe("chat", after="-50"):
            print(item)

`Client` is the same for programs without asyncio. Start reading at `_client.py`, which explains how it works.
"""

from ._blocking import BlockingSubscription, Client
from ._client import AsyncClient
from ._errors import SockeyeError
from ._messages import Gap, Item, Join, Leave, Member, Message, Page, Position, Presence
from ._status import State, Status, Transport
from ._subscription import Subscription

__all__ = [
    "AsyncClient",
    "BlockingSubscription",
    "Client",
    "Gap",
    "Item",
    "Join",
    "Leave",
    "Member",
    "Message",
    "Page",
    "Position",
    "Presence",
    "SockeyeError",
    "State",
    "Status",
    "Subscription",
    "Transport",
]
