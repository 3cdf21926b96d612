"""requests"""

import requests
from common import PUBLISHED, json_lines, long_poll, run, say


def lines(url, after):
    accept = {"Accept": "application/x-ndjson"}
    yield from requests.get(url, params={"after": after}, headers=accept, stream=True).iter_lines(1)


def page(url, after):
    return requests.get(url, params={"after": after, "wait": 20}).json()


run({
    "ndjson": lambda url: json_lines(lambda after: lines(url, after)),
    "poll": lambda url: long_poll(lambda after: page(url, after)),
    "publish": lambda url: say(status=requests.post(url, data=PUBLISHED).status_code),
})
