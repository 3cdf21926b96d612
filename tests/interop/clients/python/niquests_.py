"""niquests"""

import niquests
from common import BYTES, LARGE, PUBLISHED, TEXT, equal, event_stream, run, say


def read(url, last):
    # A session's own `Accept: */*` would stand before that of its event streams.
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    with niquests.Session() as session:
        response = session.get(url.replace("http://", "psse://"), headers=headers, timeout=None)
        response.raise_for_status()
        while not response.extension.closed:
            event = response.extension.next_payload()
            if event is not None:
                yield event.data, event.id


def echo(url):
    with niquests.Session() as session:
        ws = session.get(url).extension
        for message in (TEXT, BYTES, LARGE):
            ws.send_payload(message)
            found = ws.next_payload()
            equal(found, message)
        ws.close()
        say(echo=3, closed=1000)


def channel(url):
    with niquests.Session() as session:
        ws = session.get(url).extension
        ws.send_payload(PUBLISHED)
        for _ in range(2):
            say(message=ws.next_payload())
        ws.close()


run({
    "sse": lambda url: event_stream(lambda last: read(url, last)),
    "echo": echo,
    "channel": channel,
    "publish": lambda url: say(status=niquests.post(url, data=PUBLISHED).status_code),
})
