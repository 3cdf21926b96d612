"""Posts 5 MB to a server that takes less, ten times by each client, and reports what it got."""

import http.client
import json
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

url = sys.argv[1]
body = b"x" * (5 << 20)


def by_http_client():
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port)
    try:
        connection.request("POST", parts.path, body)
        return connection.getresponse().status
    finally:
        connection.close()


def by_urllib():
    try:
        return urllib.request.urlopen(url, body).status
    except urllib.error.HTTPError as answer:
        return answer.code


def outcome(post):
    try:
        return post()
    except Exception as error:
        return repr(error)


for post in (by_http_client, by_urllib):
    statuses = [outcome(post) for _ in range(10)]
    print(json.dumps({"client": post.__name__, "statuses": statuses}), flush=True)
