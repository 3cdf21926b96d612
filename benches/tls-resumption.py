#!/usr/bin/env python3
"""CPU time of `sockeye serve` for a TLS connection with one request, full and resumed (TLS 1.3).

    benches/tls-resumption.py target/release/sockeye server.pem server.key [connections]

The certificate is for localhost and is trusted as it is. Counted is the server's user time.
"""

import os
import re
import socket
import ssl
import subprocess
import sys

REQUEST = b"GET /c/chat HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def user_time(pid):
    with open(f"/proc/{pid}/stat") as stat:
        ticks = stat.read().rsplit(")", 1)[1].split()[11]
    return int(ticks) / os.sysconf("SC_CLK_TCK")


def connect(context, port, session):
    with socket.create_connection(("127.0.0.1", port)) as plain:
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as stream:
            stream.sendall(REQUEST)
            while stream.recv(4096):
                pass
            return stream.session_reused, stream.session


def main():
    program, certificate, key = sys.argv[1:4]
    count = int(sys.argv[4]) if len(sys.argv) > 4 else 1500
    options = ["--listen", "127.0.0.1:0", "--admin", "off", "--tls-cert", certificate, "--tls-key", key]
    server = subprocess.Popen([program, "serve", *options], stdout=subprocess.PIPE, text=True)
    try:
        port = int(re.search(r"https://127\.0\.0\.1:(\d+)", server.stdout.readline()).group(1))
        context = ssl.create_default_context(cafile=certificate)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        _, session = connect(context, port, None)
        for kind in ["full", "resumed"]:
            begun, resumed = user_time(server.pid), 0
            for _ in range(count):
                was_resumed, fresh = connect(context, port, session if kind == "resumed" else None)
                resumed += was_resumed
                session = fresh
            each = (user_time(server.pid) - begun) / count * 1e6
            print(f"{kind}: {each:.0f} us for each of {count} connections, {resumed} resumed")
    finally:
        server.kill()


main()
