"""sseclient-py, on requests"""

import requests
import sseclient
from common import event_stream, run


def read(url, last):
    headers = {"Accept": "text/event-stream"} | ({"Last-Event-ID": last} if last else {})
    response = requests.get(url, stream=True, headers=headers)
    for event in sseclient.SSEClient(response).events():
        yield event.data, event.id


run({"sse": lambda url: event_stream(lambda last: read(url, last))})
