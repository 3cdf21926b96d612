"""The client for programs without asyncio."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import unittest
from pathlib import Path

import sockeye
from harness import KEY, TIMEOUT, TRANSPORTS, new_channel, numbers, token


class BlockingServer:
    """A running `sockeye serve`, for tests without asyncio."""

    def __init__(self, *options: str) -> None:
        arguments = [os.environ["SOCKEYE_BIN"], "serve", "--listen", "127.0.0.1:0", "--admin", "off", *options]
        self.process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(r"listening on .*?([\d.]+:\d+)", line):
                self.url = f"http://{found[1]}"
                break
        self._reading = threading.Thread(target=self.process.stdout.read)
        self._reading.start()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reading.join()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Blocking(unittest.TestCase):
    def setUp(self) -> None:
        self.server = BlockingServer()
        self.addCleanup(self.server.stop)

    def test_it_publishes_and_reads_over_each_transport(self) -> None:
        for transport in TRANSPORTS:
            with self.subTest(transport), sockeye.Client(self.server.url, transports=[transport], poll_interval=0.1) as client:
                channel = new_channel()
                client.publish(channel, "0")
                self.assertEqual([message.data for message in client.read(channel, after=-1).messages], ["0"])
                with client.subscribe(channel, after="earliest") as subscription:
                    for text in numbers(1, 50):
                        client.publish(channel, text)
                    seen = []
                    for item in subscription:
                        assert isinstance(item, sockeye.Message)
                        seen.append(item.data)
                        self.assertEqual(subscription.at, item.at)
                        if item.data == "50":
                            break
                    self.assertEqual(seen, numbers(0, 50))
                    self.assertEqual(client.transport, transport)
                    self.assertEqual(client.presence(channel).count, 1)
                    self.assertEqual(len(client.read(channel).messages), 51)

    def test_waiting_ends_in_time_and_loses_nothing(self) -> None:
        with sockeye.Client(self.server.url) as client:
            subscription = client.subscribe(new_channel())
            subscription.ready(TIMEOUT)
            with self.assertRaises(TimeoutError):
                subscription.next(timeout=0.01)
            client.publish(subscription.channel, "later")
            item = subscription.next(TIMEOUT)
            assert isinstance(item, sockeye.Message)
            self.assertEqual(item.data, "later")

    def test_a_slow_application_on_a_thread_gets_everything(self) -> None:
        with sockeye.Client(self.server.url) as client:
            subscription = client.subscribe(new_channel(), after="earliest", buffer=5)
            seen: list[object] = []

            def read() -> None:
                for item in subscription:
                    assert isinstance(item, sockeye.Message)
                    seen.append(item.data)
                    if item.data == "200":
                        return

            for text in numbers(1, 100):
                client.publish(subscription.channel, text)
            thread = threading.Thread(target=read)
            thread.start()
            for text in numbers(101, 200):
                client.publish(subscription.channel, text)
            thread.join(TIMEOUT)
            self.assertEqual(seen, numbers(1, 200))

    def test_closing_from_another_thread_ends_the_loop(self) -> None:
        client = sockeye.Client(self.server.url)
        subscription = client.subscribe(new_channel())
        subscription.ready(TIMEOUT)
        thread = threading.Thread(target=lambda: list(subscription))
        thread.start()
        subscription.close()
        thread.join(TIMEOUT)
        self.assertFalse(thread.is_alive())
        client.close()
        client.close()
        with self.assertRaises(sockeye.SockeyeError):
            client.publish("chat", "x")

    def test_a_callback_cannot_wait_for_its_own_client(self) -> None:
        failures: list[BaseException] = []

        def status(_: sockeye.Status) -> None:
            try:
                client.publish("chat", "x")
            except sockeye.SockeyeError as error:
                failures.append(error)

        client = sockeye.Client(self.server.url, on_status=status)
        client.subscribe(new_channel()).ready(TIMEOUT)
        client.close()
        self.assertTrue(failures)

    def test_an_interrupt_ends_the_wait(self) -> None:
        code = f"""
            import sockeye
            with sockeye.Client({self.server.url!r}) as client:
                subscription = client.subscribe("chat")
                subscription.ready()
                try:
                    print("ready", flush=True)
                    for item in subscription:
                        pass
                except KeyboardInterrupt:
                    print("interrupted", flush=True)
        """
        program = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
        assert program.stdout is not None
        self.assertEqual(program.stdout.readline(), "ready\n")
        program.send_signal(signal.SIGINT)
        self.assertEqual(program.stdout.readline(), "interrupted\n")
        self.assertEqual(program.wait(TIMEOUT), 0)
        program.stdout.close()

    def test_a_program_that_forgets_to_close_ends_all_the_same(self) -> None:
        code = f"import sockeye; client = sockeye.Client({self.server.url!r}); client.subscribe('chat').ready(); print('done')"
        program = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT)
        self.assertEqual((program.returncode, program.stdout), (0, "done\n"))


class WithTokens(unittest.TestCase):
    def test_tokens_come_by_a_function(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            secret = Path(folder, "secret")
            secret.write_text(KEY)
            server = BlockingServer("--auth-key", str(secret))
            self.addCleanup(server.stop)
            with sockeye.Client(server.url, token=lambda: token(60)) as client:
                subscription = client.subscribe("chat")
                subscription.ready(TIMEOUT)
                client.publish("chat", "x")
                self.assertIsNotNone(subscription.next(TIMEOUT))
            with sockeye.Client(server.url) as client, self.assertRaises(sockeye.SockeyeError) as raised:
                client.publish("chat", "x")
            self.assertEqual((raised.exception.code, raised.exception.status), ("unauthorized", 401))
