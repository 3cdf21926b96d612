"""httpx"""

import httpx
from common import PUBLISHED, json_lines, long_poll, run, say


def lines(url, after):
    accept = {"Accept": "application/x-ndjson"}
    try:
        with httpx.stream("GET", url, params={"after": after}, headers=accept, timeout=None) as response:
            yield from response.iter_lines()
    except httpx.TransportError as cut:
        raise OSError from cut


def page(url, after):
    try:
        return httpx.get(url, params={"after": after, "wait": 20}, timeout=None).json()
    except httpx.TransportError as cut:
        raise OSError from cut


run({
    "ndjson": lambda url: json_lines(lambda after: lines(url, after)),
    "poll": lambda url: long_poll(lambda after: page(url, after)),
    "publish": lambda url: say(status=httpx.post(url, content=PUBLISHED).status_code),
})
