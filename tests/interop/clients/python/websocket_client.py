"""websocket-client"""

import websocket
from common import BYTES, LARGE, PUBLISHED, TEXT, equal, run, say


def echo(url):
    ws = websocket.create_connection(url)
    for message in (TEXT, LARGE):
        ws.send(message)
        equal(ws.recv(), message)
    ws.send_binary(BYTES)
    equal(ws.recv(), BYTES)
    ws.send_close(1000)
    opcode, payload = ws.recv_data()
    equal(opcode, websocket.ABNF.OPCODE_CLOSE)
    say(echo=3, closed=int.from_bytes(payload[:2], "big"))


def channel(url):
    ws = websocket.create_connection(url)
    ws.send(PUBLISHED)
    for _ in range(2):
        say(message=ws.recv())
    ws.close()


run({"echo": echo, "channel": channel})
