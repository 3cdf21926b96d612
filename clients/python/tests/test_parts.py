"""The parts that take bytes from a peer, and what is promised about times."""

from __future__ import annotations

import asyncio
import inspect
import random
import unittest

from sockeye._backoff import BASE, CAP, backoff
from sockeye._client import AsyncClient, Options
from sockeye._errors import SockeyeError
from sockeye._events import EventParser
from sockeye._http import Http, base_url, channel_path
from sockeye._messages import Publication, message_from, parsed
from sockeye._position import checked, is_past, same_epoch

ALPHABET = ["\r", "\n", "\r\n", ":", " ", "data", "id", "event", "retry", "x", "ü", "\u2028", "\x00", "data: {}\n\n", "\ufeff"]


def events(stream: bytes, cuts: list[int]) -> list[dict[str, str]]:
    parser, seen, start = EventParser(10_000), [], 0
    for cut in [*sorted(cuts), len(stream)]:
        seen += [event for event in parser.feed(stream[start:cut]) if event]
        start = cut
    return seen


class Events(unittest.TestCase):
    def test_it_does_not_matter_where_a_stream_is_cut(self) -> None:
        dice = random.Random(7)
        for _ in range(2000):
            stream = "".join(dice.choices(ALPHABET, k=dice.randrange(30))).encode()
            cuts = [dice.randrange(len(stream) + 1) for _ in range(dice.randrange(6))]
            # A CR at the very end waits for what follows it.
            whole, parts = events(stream + b"x", []), events(stream + b"x", cuts)
            self.assertEqual(parts, whole, (stream, cuts))

    def test_fields_are_those_of_the_standard(self) -> None:
        stream = b": hello\r\nid: a.1\rdata:one\ndata:  two\nevent: gap\nretry: 5\nother: x\n\ndata\n\n"
        expected = [{"id": "a.1", "event": "gap", "retry": "5", "data": "one\n two"}, {"data": ""}]
        self.assertEqual(events(stream, []), expected)
        self.assertEqual(events(b"\xef\xbb\xbfdata: x\n\n", [1, 2]), [{"data": "x"}])
        self.assertEqual(events(b"data: \xff\n\n", []), [{"data": "\ufffd"}])

    def test_an_event_has_a_limit(self) -> None:
        for piece in (b"data: x\n", b"x", b"\xc3\xbc"):
            parser = EventParser(1000)
            with self.assertRaises(SockeyeError):
                for _ in range(2000):
                    list(parser.feed(piece))
        parser = EventParser(1000)
        for _ in range(2000):
            self.assertTrue(list(parser.feed(b"data: x\n\n")))


class Parts(unittest.TestCase):
    def test_both_clients_take_the_same_options(self) -> None:
        parameters = inspect.signature(AsyncClient).parameters.values()
        self.assertEqual([each.name for each in parameters if each.kind is each.KEYWORD_ONLY], list(Options.__annotations__))

    def test_positions_of_one_epoch_compare(self) -> None:
        self.assertTrue(is_past("k3f9.10", "k3f9.9"))
        self.assertFalse(is_past("k3f9.9", "k3f9.9"))
        self.assertTrue(is_past("other.1", "k3f9.9"))
        self.assertFalse(same_epoch("other.1", "k3f9.1"))
        wrong: object
        for wrong in (None, 5, "", "x", "x.", ".5", "x.-5", "x.5.6", "x.٣", "x." + "9" * 300, {}, "x.\n5"):
            with self.assertRaises(ValueError):
                checked(wrong)

    def test_a_wait_is_random_and_has_a_bound(self) -> None:
        for failures in (0, 1, 5, 10, 1000, 10**6):
            bound = min(CAP, BASE * 2.0 ** min(failures, 10))
            waits = [backoff(failures) for _ in range(200)]
            self.assertTrue(all(0 <= wait <= bound for wait in waits))
            self.assertGreater(max(waits) - min(waits), bound / 4)

    def test_urls(self) -> None:
        for given, expected in (
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            ("wss://example.org/live?x=1#y", "https://example.org/live/"),
            ("https://example.org/c/", "https://example.org/c/"),
        ):
            self.assertEqual(base_url(given), expected)
        self.assertEqual(channel_path("device:a~1@x"), "c/device:a~1@x")
        self.assertEqual(channel_path("../x?y"), "c/..%2Fx%3Fy")

    def test_a_token_may_end_as_a_line_does_and_is_never_shown(self) -> None:
        def http(token: object) -> Http:
            return Http("http://127.0.0.1/", token=token, name=None, headers={}, context=None, http2=False, max_message=1000)  # type: ignore[arg-type]

        for token in ("secret.a.b\n", lambda: " secret.a.b\r\n"):
            self.assertEqual(asyncio.run(http(token).token()), "secret.a.b")
        for token in ("secret a", "secret\nb", lambda: "", lambda: "secretü"):
            with self.assertRaises(SockeyeError) as raised:
                asyncio.run(http(token).token())
            self.assertFalse(raised.exception.is_transient)
            self.assertNotIn("secret", str(raised.exception))

    def test_no_bytes_of_a_peer_raise_anything_but_an_error_of_the_client(self) -> None:
        dice = random.Random(11)
        texts = ['{"at":"a.1","ts":1,"data":{}}', '{"at":"a.1","ts":1,"b64":"AAEC"}', '{"gap":{"after":"a.1","next":"a.2","why":"slow"}}', "[" * 50]
        for _ in range(3000):
            text = list(dice.choice(texts))
            for _ in range(dice.randrange(4)):
                text[dice.randrange(len(text))] = dice.choice('{}[]":,a0.\\é')
            try:
                message_from("chat", parsed("".join(text)))
            except SockeyeError as error:
                self.assertTrue(error.is_transient)

    def test_a_publication_is_the_same_on_http_and_on_a_websocket(self) -> None:
        text = Publication.of("chat", 'say "hi"', None, "k")
        self.assertEqual((text.body, text.member), (b'say "hi"', '"data":"say \\"hi\\""'))
        value = Publication.of("chat", {"a": ["ü"]}, "thing", "k")
        self.assertEqual((value.body.decode(), value.member), ('{"a":["ü"]}', '"data":{"a":["ü"]}'))
        self.assertEqual(Publication.of("chat", memoryview(b"\x00"), None, "k").member, '"b64":"AA=="')
        for key in ("", "a b\n", "ü", " x"):
            with self.assertRaises(ValueError):
                Publication.of("chat", "x", key, "k")
