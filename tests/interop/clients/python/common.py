"""What the clients of Python have in common: reports, and the messages that an echo sends back.

Each is called with a check and a URL, prints one JSON object in a line for what it saw, and fails where that is wrong.
"""

import json
import sys
import time

TEXT = "sockeye 🐟"
BYTES = b"\x00\xff\xfe\x80"
LARGE = "x" * (1 << 20)
PUBLISHED = "from a peer"


def say(**report):
    print(json.dumps(report), flush=True)


def equal(found, expected):
    if found != expected:
        sys.exit(f"found {str(found)[:200]!r}, expected {str(expected)[:200]!r}")


def event_stream(read):
    """Reads on after each cut, as read(last_id) gives data and ids."""
    last = None
    while True:
        try:
            for data, last in read(last):
                say(message=json.loads(data), at=last)
        except OSError:
            pass
        time.sleep(0.05)


def json_lines(read):
    """Reads on after each cut, as read(after) gives lines."""
    after = "now"
    while True:
        try:
            for line in read(after):
                if line.strip():
                    message = json.loads(line)
                    after = message["at"]
                    if "data" in message:
                        say(message=message["data"], at=after)
        except OSError:
            pass
        time.sleep(0.05)


def long_poll(get):
    """Polls for ever, as get(after) gives a page."""
    after = "now"
    while True:
        try:
            page = get(after)
        except OSError:
            time.sleep(0.05)
            continue
        after = page["at"]
        for message in page["messages"]:
            say(message=message["data"], at=message["at"])


def run(checks):
    """Runs the check that the arguments name; a server has no URL."""
    check, *url = sys.argv[1:3]
    checks[check](*filter(None, url))
