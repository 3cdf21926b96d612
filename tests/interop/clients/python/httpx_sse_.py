"""httpx-sse"""

import httpx
import httpx_sse
from common import event_stream, run


def read(url, last):
    headers = {"Last-Event-ID": last} if last else {}
    try:
        with (
            httpx.Client(timeout=None) as client,
            httpx_sse.connect_sse(client, "GET", url, headers=headers) as source,
        ):
            for event in source.iter_sse():
                yield event.data, event.id
    except httpx.TransportError as cut:
        raise OSError from cut


run({"sse": lambda url: event_stream(lambda last: read(url, last))})
