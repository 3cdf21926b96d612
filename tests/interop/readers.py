"""Readers of event streams, as their documentation uses them: `python readers.py NAME URL` prints what the reader NAME takes
for a message, one JSON object in a line, until it is stopped."""

import json
import sys


def httpx_sse(url):
    import httpx
    import httpx_sse

    with httpx.Client(timeout=None) as client, httpx_sse.connect_sse(client, "GET", url) as source:
        for event in source.iter_sse():
            yield event.json(), event.id


def sseclient_py(url):
    import requests
    import sseclient

    response = requests.get(url, stream=True, headers={"Accept": "text/event-stream"})
    for event in sseclient.SSEClient(response).events():
        yield json.loads(event.data), event.id


def requests_sse(url):
    import requests_sse

    with requests_sse.EventSource(url, timeout=60) as source:
        for event in source:
            yield json.loads(event.data), event.last_event_id


READERS = {"httpx-sse": httpx_sse, "sseclient-py": sseclient_py, "requests-sse": requests_sse}

if __name__ == "__main__":
    name, url = sys.argv[1:]
    for message, id in READERS[name](url):
        print(json.dumps({"message": message, "id": id}), flush=True)
