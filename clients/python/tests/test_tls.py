"""The client over TLS: with a certificate of an authority of its own, over HTTP/1.1 and HTTP/2.

SOCKEYE_TLS  the folder with `certificate.pem`, `key.pem` and `authority.pem`
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import sockeye
from harness import TRANSPORTS, data_of, new_channel, numbers, until
from test_client import Case

FOLDER = Path(os.environ["SOCKEYE_TLS"])


class Tls(Case):
    options = ("--tls-cert", str(FOLDER / "certificate.pem"), "--tls-key", str(FOLDER / "key.pem"))

    async def publish_and_read(self, context: ssl.SSLContext, http2: bool) -> None:
        for transport in TRANSPORTS:
            with self.subTest(transport):
                channel = new_channel()
                client = sockeye.AsyncClient(self.server.url, ssl=context, http2=http2, transports=[transport], poll_interval=0.1)
                async with client:
                    subscription = client.subscribe(channel, after="earliest")
                    for text in numbers(1, 20):
                        await client.publish(channel, text)
                    self.assertEqual(await data_of(subscription, 20), numbers(1, 20))
                    self.assertEqual(client.transport, transport)

    async def test_with_an_authority_of_its_own(self) -> None:
        await self.publish_and_read(ssl.create_default_context(cafile=FOLDER / "authority.pem"), http2=False)

    async def test_over_http2(self) -> None:
        await self.publish_and_read(ssl.create_default_context(cafile=FOLDER / "authority.pem"), http2=True)

    async def test_a_certificate_that_is_not_trusted_is_said(self) -> None:
        for transport in TRANSPORTS:
            async with sockeye.AsyncClient(self.server.url, transports=[transport]) as client:
                client.subscribe(new_channel())
                await until(lambda: client.state == "waiting")
                self.assertIn("certificate verify failed", str(client.status.error))
