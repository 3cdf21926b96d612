"""What an application gets from the client when nothing is in the way, over each transport."""

from __future__ import annotations

import asyncio
import json
import logging
import unittest
import urllib.request

import sockeye
from harness import TIMEOUT, TRANSPORTS, Proxy, Server, data_of, new_channel, numbers, take, until


class Case(unittest.IsolatedAsyncioTestCase):
    """A server for each test. What asyncio complains about is a failure."""

    options: tuple[str, ...] = ()

    async def asyncSetUp(self) -> None:
        self.server = await self.enterAsyncContext(Server.run(*self.options))
        self.complaints: list[str] = []
        # What unittest turns on makes everything several times slower.
        asyncio.get_running_loop().set_debug(False)
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self.complaints.append(str(context)))

    async def asyncTearDown(self) -> None:
        self.assertEqual(self.complaints, [])

    async def publish_all(self, channel: str, texts: list[str]) -> None:
        async with sockeye.AsyncClient(self.server.url) as client:
            for text in texts:
                await client.publish(channel, text)

    async def read_many(self, client: sockeye.AsyncClient, count: int) -> None:
        """A message on each of that many channels comes to its subscription."""
        channels = [new_channel() for _ in range(count)]
        subscriptions = [client.subscribe(channel) for channel in channels]
        for subscription in subscriptions:
            await subscription.ready()
        for channel in channels:
            await client.publish(channel, channel)
        for subscription in subscriptions:
            self.assertEqual(await data_of(subscription, 1), [subscription.channel])


class Reading(Case):
    async def test_what_is_published_arrives_as_it_was_published(self) -> None:
        for transport in TRANSPORTS:
            with self.subTest(transport):
                channel = new_channel()
                await self.publish_all(channel, ["before"])
                async with sockeye.AsyncClient(self.server.url, transports=[transport], poll_interval=0.1) as client:
                    async with client.subscribe(channel, after="earliest") as subscription:
                        await take(subscription, 1)
                        given: list[object] = ["text\nof lines ü", {"a": [1, None, 1.5]}, b"\x00\xff\x07", "", None, [], "named"]
                        at = [await client.publish(channel, data, event="thing" if data == "named" else None) for data in given]
                        items = await take(subscription, len(given))
                        self.assertEqual([item.data for item in items if isinstance(item, sockeye.Message)], given)
                        self.assertEqual([item.at for item in items if isinstance(item, sockeye.Message)], at)
                        last = items[-1]
                        assert isinstance(last, sockeye.Message)
                        self.assertEqual((last.event, last.channel, client.transport), ("thing", channel, transport))
                        self.assertEqual(subscription.at, last.at)
                        self.assertEqual((await client.presence(channel)).count, 1)

    async def test_a_subscription_begins_where_it_is_told_to(self) -> None:
        for transport in TRANSPORTS:
            with self.subTest(transport):
                channel = new_channel()
                async with sockeye.AsyncClient(self.server.url, transports=[transport], poll_interval=0.1) as client:
                    await self.publish_all(channel, numbers(1, 9))
                    at = (await client.read(channel, after="-1")).at
                    await client.publish(channel, "10")
                    starts: list[str | int | None] = ["now", None, at, "-3", -3, "earliest", "10m"]
                    subscriptions = [client.subscribe(channel, after=start) for start in starts]
                    for subscription in subscriptions:
                        await subscription.ready()
                    await client.publish(channel, "end")
                    everything = [*numbers(1, 10), "end"]
                    new, three = ["end"], [*numbers(8, 10), "end"]
                    for subscription, expected in zip(subscriptions, [new, new, ["10", "end"], three, three, everything, everything]):
                        self.assertEqual(await data_of(subscription, len(expected)), expected)

    async def test_many_channels_are_read_on_one_connection(self) -> None:
        async with Proxy.to(self.server.url) as proxy, sockeye.AsyncClient(proxy.url, transports=["v1"]) as client:
            await self.read_many(client, 100)
            self.assertEqual(proxy.asked, ["v1"])

    async def test_many_channels_are_live_over_events(self) -> None:
        async with sockeye.AsyncClient(self.server.url, transports=["sse"], poll_interval=0.1) as client:
            await self.read_many(client, 70)

    async def test_what_the_server_keeps_no_longer_is_a_gap_on_every_transport(self) -> None:
        channel = new_channel()
        server = await self.enterAsyncContext(Server.run("--history-count", "50"))
        async with sockeye.AsyncClient(server.url) as client:
            first = await client.publish(channel, "0")
            for text in numbers(1, 80):
                await client.publish(channel, text)
        for transport in TRANSPORTS:
            with self.subTest(transport):
                async with sockeye.AsyncClient(server.url, transports=[transport], poll_interval=0.1) as client:
                    gap, *messages = await take(client.subscribe(channel, after=first), 51)
                    assert isinstance(gap, sockeye.Gap)
                    self.assertEqual((gap.why, gap.after), ("expired", first))
                    data = [message.data for message in messages if isinstance(message, sockeye.Message)]
                    self.assertEqual(data, numbers(31, 80))

    async def test_an_application_that_is_slow_gets_everything_and_its_memory_is_bounded(self) -> None:
        for transport in TRANSPORTS:
            with self.subTest(transport):
                channel = new_channel()
                async with sockeye.AsyncClient(self.server.url, transports=[transport], poll_interval=0.1) as client:
                    subscription = client.subscribe(channel, after="earliest", buffer=10)
                    await subscription.ready()
                    for text in numbers(1, 15):
                        await client.publish(channel, text)
                    await until(lambda: len(subscription._queue) >= 10)
                    for text in numbers(16, 200):
                        await client.publish(channel, text)
                    self.assertEqual(await data_of(subscription, 100), numbers(1, 100))
                    for text in numbers(201, 300):
                        await client.publish(channel, text)
                    self.assertEqual(await data_of(subscription, 200), numbers(101, 300))

    async def test_a_subscription_that_is_closed_and_begun_again_earlier_misses_nothing(self) -> None:
        channel = new_channel()
        async with sockeye.AsyncClient(self.server.url) as client:
            first = await client.publish(channel, "0")
            for round_ in range(10):
                publishing = asyncio.create_task(self.publish_all(channel, numbers(1, 10)))
                async with client.subscribe(channel) as subscription:
                    await take(subscription, 1)
                async with client.subscribe(channel, after=first) as again:
                    data = await data_of(again, 10 * (round_ + 1))
                    self.assertEqual(data, numbers(1, 10) * (round_ + 1))
                await publishing

    async def test_a_history_that_is_deleted_is_a_gap(self) -> None:
        for transport in TRANSPORTS:
            with self.subTest(transport):
                channel = new_channel()
                async with sockeye.AsyncClient(self.server.url, transports=[transport], poll_interval=0.1) as client:
                    subscription = client.subscribe(channel)
                    await subscription.ready()
                    await client.publish(channel, "1")
                    self.assertEqual(await data_of(subscription, 1), ["1"])
                    await client.publish(channel, "2")
                    await take(subscription, 1)
                    await asyncio.to_thread(request, "DELETE", f"{self.server.url}/c/{channel}")
                    await client.publish(channel, "3")
                    items = await take(subscription, 1)
                    while isinstance(items[-1], sockeye.Gap):
                        items += await take(subscription, 1)
                    message = items.pop()
                    assert isinstance(message, sockeye.Message)
                    self.assertEqual(message.data, "3")
                    # To a poll that comes later nothing is missing: its client had read what was deleted.
                    self.assertIn(len(items), (1,) if transport in ("v1", "sse") else (0, 1))
                    self.assertEqual([item.why for item in items if isinstance(item, sockeye.Gap)], ["reset"] * len(items))

    async def test_a_channel_that_ends_ends_its_subscriptions(self) -> None:
        for transport in TRANSPORTS:
            with self.subTest(transport):
                channel = new_channel()
                async with sockeye.AsyncClient(self.server.url, transports=[transport], poll_interval=0.1) as client:
                    subscriptions = [client.subscribe(channel, after=after, buffer=3) for after in ("now", "earliest")]
                    for subscription in subscriptions:
                        await subscription.ready()
                    for text in numbers(1, 10):
                        await client.publish(channel, text)
                    await asyncio.to_thread(request, "POST", f"{self.server.url}/c/{channel}?close=1")
                    # One that comes later is told, too.
                    for subscription in [*subscriptions, client.subscribe(channel, after="earliest")]:
                        async with asyncio.timeout(TIMEOUT):
                            data = [item.data async for item in subscription if isinstance(item, sockeye.Message)]
                        self.assertEqual((data, subscription.has_ended), (numbers(1, 10), True))
                    with self.assertRaises(sockeye.SockeyeError) as raised:
                        await client.publish(channel, "x")
                    self.assertEqual(raised.exception.code, "ended")

    async def test_joins_and_leaves_are_told(self) -> None:
        channel = new_channel()
        async with sockeye.AsyncClient(self.server.url, name="ann", transports=["v1"]) as ann:
            subscription = ann.subscribe(channel, presence=True)
            await subscription.ready()
            async with sockeye.AsyncClient(self.server.url, name="ben", transports=["v1"]) as ben:
                await ben.subscribe(channel).ready()
                await until(lambda: subscription._queue)
                members = (await ann.presence(channel)).members
                self.assertEqual([member.id for member in members], ["ann", "ben"])
            items = [item for item in await take(subscription, 2) if not _is_own(item)]
            while len(items) < 2:
                items += [item for item in await take(subscription, 1) if not _is_own(item)]
            join, leave = items
            assert isinstance(join, sockeye.Join) and isinstance(leave, sockeye.Leave)
            self.assertEqual((join.member.id, leave.member.id), ("ben", "ben"))


def _is_own(item: sockeye.Item) -> bool:
    return isinstance(item, (sockeye.Join, sockeye.Leave)) and item.member.id == "ann"


def request(method: str, url: str) -> None:
    urllib.request.urlopen(urllib.request.Request(url, method=method)).close()


class Writing(Case):
    async def test_a_key_makes_publications_one_on_http_and_on_the_websocket(self) -> None:
        channel = new_channel()
        async with sockeye.AsyncClient(self.server.url, transports=["v1"]) as client:
            first = await client.publish(channel, "once", key="k")
            subscription = client.subscribe(channel, after="earliest")
            await take(subscription, 1)
            await until(lambda: client.transport == "v1")
            self.assertEqual(await client.publish(channel, "once", key="k"), first)
            self.assertNotEqual(await client.publish(channel, "other"), first)
            self.assertEqual(len((await client.read(channel)).messages), 2)

    async def test_what_cannot_be_published_is_said_at_once(self) -> None:
        channel = new_channel()
        async with sockeye.AsyncClient(self.server.url) as client:
            for begin in (lambda: None, lambda: client.subscribe(channel)):
                subscription = begin()
                if subscription:
                    await subscription.ready()
                with self.assertRaises(sockeye.SockeyeError) as raised:
                    await client.publish(channel, "x" * 100_000)
                self.assertEqual(raised.exception.code, "too_large")
                with self.assertRaises(sockeye.SockeyeError) as raised:
                    await client.publish(channel, "x", event="gap")
                self.assertEqual(raised.exception.code, "bad_event")
                with self.assertRaises(ValueError):
                    await client.publish(channel, float("nan"))
                with self.assertRaises(ValueError):
                    await client.publish(channel, "x", key="a\r\nb: c")
        async with sockeye.AsyncClient(self.server.url) as client:
            for wrong in ("../x", "", "a/b", "a?b"):
                with self.assertRaises(sockeye.SockeyeError) as raised:
                    await client.publish(wrong, "x")
                self.assertIn(raised.exception.status, (400, 404))


class Refusing(Case):
    def test_a_url_that_is_none_of_a_server_is_said_at_once(self) -> None:
        for url in ("localhost:8080", "/live", "http://127.0.0.1/c/chat", "ftp://example.org"):
            with self.assertRaises(ValueError):
                sockeye.AsyncClient(url)
        with self.assertRaises(ValueError):
            sockeye.AsyncClient("http://127.0.0.1", transports=["carrier pigeon"])  # type: ignore[list-item]
        with self.assertRaises(ValueError):
            sockeye.Client("http://127.0.0.1", transports=[])

    async def test_a_channel_that_cannot_be_is_refused_on_every_transport(self) -> None:
        for transport in TRANSPORTS:
            with self.subTest(transport):
                async with sockeye.AsyncClient(self.server.url, transports=[transport]) as client:
                    for after in ("now", "earliest"):
                        with self.assertRaises(sockeye.SockeyeError) as raised:
                            await take(client.subscribe("~no", after=after), 1)
                        self.assertEqual(raised.exception.code, "bad_channel")

    async def test_a_client_that_is_closed_ends_its_subscriptions(self) -> None:
        client = sockeye.AsyncClient(self.server.url)
        subscription = client.subscribe(new_channel())
        await subscription.ready()
        waiting = asyncio.create_task(take(subscription, 1))
        await asyncio.sleep(0)
        await client.aclose()
        with self.assertRaises((StopAsyncIteration, RuntimeError)):
            await waiting
        with self.assertRaises(sockeye.SockeyeError):
            client.subscribe(new_channel())
        self.assertEqual([task for task in asyncio.all_tasks() if task is not asyncio.current_task() and "Proxy" not in repr(task) and "_read" not in repr(task)], [])


class Hostile(unittest.IsolatedAsyncioTestCase):
    """Servers that send what they should not: it is a connection that broke, and nothing grows."""

    async def answers(self, body: bytes, kind: str) -> sockeye.SockeyeError | None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nConnection: close\r\n\r\n"
            writer.write(head.encode() + body)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        transport: sockeye.Transport = "sse" if "event" in kind else "poll"
        try:
            async with sockeye.AsyncClient(f"http://{host}:{port}", transports=[transport], max_message=100_000) as client:
                client.subscribe("chat")
                await until(lambda: client.state == "waiting")
                return client.status.error
        finally:
            server.close()

    async def test_what_is_no_page_or_no_event(self) -> None:
        for body in (b"[]", b"{}", b"nonsense", b'{"at":1,"messages":[]}', b'{"at":"a.1","messages":[{}]}', b"[" * 100_000):
            error = await self.answers(body, "application/json")
            assert error is not None and error.code is None
        for body in (b"data: {}\n\n", b"data: 5\n\n", b"id: x\n\n", b'event: gap\ndata: {"next":"a.b"}\n\n'):
            error = await self.answers(body, "text/event-stream")
            assert error is not None and error.code is None

    async def test_what_is_too_long(self) -> None:
        error = await self.answers(b" " * 9_000_000, "application/json")
        self.assertIn("too long", str(error))
        for piece in (b"data: " + b"x" * 1_000_000, b"data\n" * 200_000):
            self.assertIn("too long", str(await self.answers(piece, "text/event-stream")))


class Programs(Case):
    async def test_the_last_message_of_each_page_has_its_position(self) -> None:
        channel = new_channel()
        await self.publish_all(channel, numbers(1, 3))
        async with sockeye.AsyncClient(self.server.url) as client:
            page = await client.read(channel, limit=2)
            self.assertEqual([message.data for message in page.messages], ["2", "3"])
            self.assertEqual(page.at, page.messages[-1].at)
            self.assertEqual(json.loads(json.dumps([message.ts > 10**12 for message in page.messages])), [True, True])


if __name__ == "__main__":
    logging.basicConfig()
    unittest.main()
