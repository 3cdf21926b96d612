"""Over cuts, hops between transports, restarts of the server and tokens that expire: nothing lost, repeated or out of order."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from pathlib import Path

import sockeye
from harness import KEY, TIMEOUT, TRANSPORTS, Proxy, Server, data_of, new_channel, numbers, take, token, until
from test_client import Case

HOPS: list[tuple[dict[str, str], sockeye.Transport]] = [
    ({"v1": "refuse"}, "sse"),
    ({"v1": "refuse", "sse": "refuse"}, "longpoll"),
    ({}, "v1"),
    ({"v1": "refuse", "sse": "refuse", "longpoll": "refuse"}, "poll"),
    ({}, "v1"),
    ({"v1": "cut", "sse": "refuse"}, "longpoll"),
    ({"v1": "refuse", "sse": "hold"}, "longpoll"),
    ({"v1": "password", "sse": "password"}, "longpoll"),
    ({"v1": "refuse"}, "sse"),
]


class Publisher:
    """Publishes numbers until each is acknowledged, however often the server is away: with a key, each is one."""

    def __init__(self, client: sockeye.AsyncClient, channel: str) -> None:
        self.client = client
        self.channel = channel
        self.count = 0

    async def publish(self, how_many: int) -> None:
        for _ in range(how_many):
            self.count += 1
            await self._publish(str(self.count))

    async def _publish(self, text: str) -> None:
        async with asyncio.timeout(TIMEOUT):
            while True:
                try:
                    await self.client.publish(self.channel, text, key=f"{self.channel}-{text}")
                    return
                except sockeye.SockeyeError as error:
                    if not error.is_transient:
                        raise


async def reach(client: sockeye.AsyncClient, transport: sockeye.Transport) -> None:
    """Waits until a transport works, while the program says that the network has changed."""
    async with asyncio.timeout(TIMEOUT):
        while client.transport != transport:
            client.retry()
            await asyncio.sleep(0.3)


class Falling(Case):
    async def test_a_transport_that_is_blocked_gives_way_to_the_next(self) -> None:
        for rules, transport in HOPS:
            with self.subTest(rules):
                channel = new_channel()
                async with Proxy.to(self.server.url, **rules) as proxy, sockeye.AsyncClient(proxy.url, poll_interval=0.1) as client:
                    subscription = client.subscribe(channel, after="earliest")
                    await self.publish_all(channel, numbers(1, 5))
                    self.assertEqual(await data_of(subscription, 5), numbers(1, 5))
                    await until(lambda: client.transport == transport)
                    await client.publish(channel, "6")
                    self.assertEqual(await data_of(subscription, 1), ["6"])
                    self.assertLessEqual(proxy.asked.count("v1"), 2, "what does not work is left alone")

    async def test_a_client_that_hops_between_transports_loses_and_repeats_nothing(self) -> None:
        channel = new_channel()
        async with (
            Proxy.to(self.server.url) as proxy,
            sockeye.AsyncClient(proxy.url, poll_interval=0.1) as client,
            sockeye.AsyncClient(self.server.url) as other,
        ):
            subscription = client.subscribe(channel, after="earliest")
            publisher = Publisher(other, channel)
            for rules, transport in HOPS:
                proxy.rules = rules
                publishing = asyncio.create_task(publisher.publish(50))
                proxy.cut()
                await reach(client, transport)
                await publishing
            self.assertEqual(await data_of(subscription, publisher.count), numbers(1, publisher.count))

    async def test_a_server_that_is_away_is_asked_less_and_less_often(self) -> None:
        channel = new_channel()
        async with Proxy.to(self.server.url) as proxy, sockeye.AsyncClient(proxy.url) as client:
            subscription = client.subscribe(channel)
            await subscription.ready()
            proxy.rules = dict.fromkeys(TRANSPORTS, "refuse")
            asked = len(proxy.asked)
            proxy.cut()
            await until(lambda: client.state == "waiting" and client.status.retry_at - time.time() > 1.5)
            self.assertLess(len(proxy.asked) - asked, 25)
            self.assertIsNotNone(client.status.error)
            await self.publish_all(channel, ["meanwhile"])
            proxy.rules = {}
            client.retry()
            self.assertEqual(await data_of(subscription, 1), ["meanwhile"])


class Restarting(Case):
    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.options = ("--data", self.folder)

    async def test_over_crashes_on_each_transport(self) -> None:
        async with Proxy.to(self.server.url) as proxy:
            await asyncio.gather(*(self.reads_over_crashes(proxy, transport) for transport in TRANSPORTS), self.crash(proxy, 3))

    async def crash(self, proxy: Proxy, times: int) -> None:
        self.acknowledged = 0
        for n in range(times):
            await until(lambda: self.acknowledged >= (n + 1) * 60)
            await self.server.crash()
            proxy.target = self.server.url

    async def reads_over_crashes(self, proxy: Proxy, transport: sockeye.Transport) -> None:
        channel = new_channel()
        async with sockeye.AsyncClient(proxy.url, transports=[transport], poll_interval=0.1) as client:
            subscription = client.subscribe(channel, after="earliest")
            publisher = Publisher(client, channel)
            for _ in range(80):
                await publisher.publish(1)
                self.acknowledged += 1
            retrying = asyncio.create_task(reach(client, transport))
            self.assertEqual(await data_of(subscription, 80), numbers(1, 80))
            await retrying

    async def test_a_server_that_stops_says_when_to_come_back(self) -> None:
        channel = new_channel()
        async with Proxy.to(self.server.url) as proxy, sockeye.AsyncClient(proxy.url, transports=["v1"]) as client:
            subscription = client.subscribe(channel)
            await subscription.ready()
            seen: list[sockeye.Status] = []
            client._on_status = seen.append
            self.server.terminate()
            await until(lambda: seen)
            self.assertEqual(seen[0].state, "waiting")
            self.assertIn("drain", str(seen[0].error))
            await self.server.ended()
            await self.server.crash()
            proxy.target = self.server.url
            await self.publish_all(channel, ["meanwhile"])
            client.retry()
            self.assertEqual(await data_of(subscription, 1), ["meanwhile"])


class Forgetting(Case):
    async def test_a_server_that_has_lost_its_memory_is_told_as_a_gap(self) -> None:
        for transport in TRANSPORTS:
            with self.subTest(transport):
                channel = new_channel()
                async with Proxy.to(self.server.url) as proxy:
                    async with sockeye.AsyncClient(proxy.url, transports=[transport], poll_interval=0.1) as client:
                        subscription = client.subscribe(channel)
                        await subscription.ready()
                        publisher = Publisher(client, channel)
                        await publisher.publish(3)
                        self.assertEqual(await data_of(subscription, 3), numbers(1, 3))
                        await self.server.crash()
                        proxy.target = self.server.url
                        await publisher.publish(1)
                        retrying = asyncio.create_task(reach(client, transport))
                        first, *rest = await take(subscription, 1)
                        assert isinstance(first, sockeye.Gap)
                        self.assertEqual(first.why, "reset")
                        await publisher.publish(1)
                        items = await take(subscription, 1)
                        while not (isinstance(items[-1], sockeye.Message) and items[-1].data == "5"):
                            items += await take(subscription, 1)
                        data = [item.data for item in items if isinstance(item, sockeye.Message)]
                        self.assertIn(data, (["4", "5"], ["5"]))
                        await retrying


class Chaos(Case):
    """Cuts, blocked transports, crashes, a slow application, in an order that a seed decides."""

    def setUp(self) -> None:
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.options = ("--data", self.folder)

    async def test_chaos(self) -> None:
        for seed in (1, 2):
            with self.subTest(seed):
                await self.chaos(random.Random(seed))

    async def chaos(self, dice: random.Random) -> None:
        channel = new_channel()
        async with (
            Proxy.to(self.server.url) as proxy,
            sockeye.AsyncClient(proxy.url, poll_interval=0.1) as reader,
            sockeye.AsyncClient(proxy.url, poll_interval=0.1) as writer,
        ):
            subscription = reader.subscribe(channel, after="earliest", buffer=20)
            await writer.subscribe(channel).ready()
            publisher = Publisher(writer, channel)
            seen: list[object] = []
            for _ in range(12):
                publishing = asyncio.create_task(publisher.publish(25))
                event = dice.choice(["cut", "block", "free", "crash"])
                if event == "cut":
                    proxy.cut()
                elif event == "crash":
                    await self.server.crash()
                    proxy.target = self.server.url
                else:
                    blocked = dice.sample(TRANSPORTS[:3], dice.randrange(3)) if event == "block" else []
                    proxy.rules = {transport: dice.choice(["refuse", "cut"]) for transport in blocked if transport != "longpoll"}
                    proxy.cut()
                while not publishing.done():
                    for client in (reader, writer):
                        client.retry()
                    await asyncio.wait([publishing], timeout=0.3)
                await publishing
                # A slow application: it takes less than there is, now and then.
                seen += await data_of(subscription, min(dice.randrange(40), publisher.count - len(seen)))
            seen += await data_of(subscription, publisher.count - len(seen))
            self.assertEqual(seen, numbers(1, publisher.count))
            self.assertEqual(len(subscription._queue), 0, "nothing is repeated")


class Tokens(Case):
    def setUp(self) -> None:
        folder = self.enterContext(tempfile.TemporaryDirectory())
        secret = Path(folder, "secret")
        secret.write_text(KEY)
        self.options = ("--auth-key", str(secret))

    async def test_a_token_that_expires_is_replaced_before(self) -> None:
        await asyncio.gather(*(self.lasts(transport) for transport in TRANSPORTS))

    async def lasts(self, transport: sockeye.Transport) -> None:
        channel, given = new_channel(), 0

        async def fresh() -> str:
            nonlocal given
            given += 1
            return token(6)

        async with sockeye.AsyncClient(self.server.url, transports=[transport], token=fresh, poll_interval=0.1) as client:
            subscription = client.subscribe(channel)
            await subscription.ready()
            for number in (1, 2):
                await client.publish(channel, str(number))
                self.assertEqual(await data_of(subscription, 1), [str(number)])
                await until(lambda: given > number)
            await client.publish(channel, "3")
            self.assertEqual(await data_of(subscription, 1), ["3"])

    async def test_a_token_that_is_refused_is_asked_for_again(self) -> None:
        for transport in TRANSPORTS:
            with self.subTest(transport):
                tokens = ["nonsense", token(60), token(60)]
                channel = new_channel()
                # A plain function, too, may take its time.
                async with sockeye.AsyncClient(self.server.url, transports=[transport], token=lambda: tokens.pop(0), poll_interval=0.1) as client:
                    subscription = client.subscribe(channel)
                    await subscription.ready()
                    await client.publish(channel, "x")
                    self.assertEqual(await data_of(subscription, 1), ["x"])
                    self.assertEqual(len(tokens), 1)

    async def test_what_a_token_does_not_grant_is_an_error_of_that_channel(self) -> None:
        for transport in TRANSPORTS:
            with self.subTest(transport):
                only = token(60, {"mine": ["read", "write"]})
                async with sockeye.AsyncClient(self.server.url, transports=[transport], token=only, poll_interval=0.1) as client:
                    mine, other = client.subscribe("mine"), client.subscribe("other")
                    with self.assertRaises(sockeye.SockeyeError) as raised:
                        await take(other, 1)
                    self.assertEqual(raised.exception.code, "forbidden")
                    await mine.ready()
                    await client.publish("mine", transport)
                    self.assertEqual(await data_of(mine, 1), [transport])
                    with self.assertRaises(sockeye.SockeyeError):
                        await client.publish("other", "x")

    async def test_without_a_valid_token_every_transport_says_so(self) -> None:
        for transport in TRANSPORTS:
            for bad in (None, "nonsense"):
                with self.subTest(transport=transport, token=bad):
                    async with sockeye.AsyncClient(self.server.url, transports=[transport], token=bad) as client:
                        with self.assertRaises(sockeye.SockeyeError) as raised:
                            await take(client.subscribe("chat"), 1)
                        self.assertEqual(raised.exception.code, "unauthorized")

    async def test_a_token_that_cannot_be_had_now_is_asked_for_again(self) -> None:
        asked = 0

        def unwell() -> str:
            nonlocal asked
            asked += 1
            if asked < 3:
                raise OSError("the issuer is away")
            return token(60)

        async with sockeye.AsyncClient(self.server.url, token=unwell) as client:
            subscription = client.subscribe(new_channel())
            async with asyncio.timeout(TIMEOUT):
                while True:
                    client.retry()
                    done, _ = await asyncio.wait([asyncio.ensure_future(subscription.ready())], timeout=0.2)
                    if done:
                        break
            self.assertEqual(asked, 3)
