"""urllib"""

import http.client
import json
from urllib.request import Request, urlopen

from common import PUBLISHED, json_lines, long_poll, run, say


def lines(url, after):
    request = Request(f"{url}?after={after}", headers={"Accept": "application/x-ndjson"})
    try:
        with urlopen(request) as response:
            yield from response
    except http.client.HTTPException as cut:
        raise OSError from cut


def page(url, after):
    with urlopen(f"{url}?after={after}&wait=20") as response:
        return json.load(response)


def publish(url):
    with urlopen(url, data=PUBLISHED.encode()) as response:
        say(status=response.status)


run({
    "ndjson": lambda url: json_lines(lambda after: lines(url, after)),
    "poll": lambda url: long_poll(lambda after: page(url, after)),
    "publish": publish,
})
