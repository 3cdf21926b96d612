"""requests-sse"""

import json

import requests_sse
from common import run, say


def sse(url):
    with requests_sse.EventSource(url, timeout=60) as source:
        for event in source:
            say(message=json.loads(event.data), at=event.last_event_id)


run({"sse": sse})
