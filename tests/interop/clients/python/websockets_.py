"""websockets"""

from common import BYTES, LARGE, PUBLISHED, TEXT, equal, run, say
from websockets.sync.client import connect
from websockets.sync.server import serve


def echo(url):
    with connect(url, proxy=None) as ws:
        for message in (TEXT, BYTES, LARGE):
            ws.send(message)
            equal(ws.recv(), message)
        ws.close()
        say(echo=3, closed=ws.protocol.close_code)


def channel(url):
    with connect(url, proxy=None) as ws:
        ws.send(PUBLISHED)
        for _ in range(2):
            say(message=ws.recv())


def server():
    def handle(ws):
        for message in ws:
            ws.send(message)

    with serve(handle, "127.0.0.1", 0, max_size=None) as listener:
        say(port=listener.socket.getsockname()[1])
        listener.serve_forever()


run({"echo": echo, "channel": channel, "server": server})
