"""Frames of HTTP/2 by hand, with the package h2 (python3-h2).

One stream takes nothing and holds up no other; RST_STREAM frees a subscription
at once and leaves the others; GOAWAY comes when the server stops.
"""
import socket
import sys
import time
import urllib.request

import h2.config
import h2.connection
import h2.events
import h2.settings

host, port = sys.argv[1].split(":")
base = "http://%s:%s/topics" % (host, port)


def publish(name, data):
    request = urllib.request.Request(base + "/" + name, data=data, headers={"Content-Type": "text/plain"})
    urllib.request.urlopen(request, timeout=150).read()


def subscribers(name):
    import json

    with urllib.request.urlopen(base, timeout=150) as answer:
        return {t["topic"]: t["subscribers"] for t in json.load(answer)["topics"]}.get(name, 0)


def until(what, holds):
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "waited in vain: " + what


sock = socket.create_connection((host, int(port)), timeout=150)
conn = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
conn.initiate_connection()
conn.increment_flow_control_window(64 << 20)  # of the connection, so that a stream that takes nothing fills only its own
sock.sendall(conn.data_to_send())

stalled = 5
got = {1: b"", 3: b"", 5: b"", 7: b""}
status, over = {}, {}
away = []


def pump(until_, what):
    """Reads frames until a condition holds."""
    deadline = time.monotonic() + 30
    while not until_():
        assert time.monotonic() < deadline, "waited in vain: " + what
        data = sock.recv(65536)
        if not data:
            break
        for event in conn.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                status[event.stream_id] = dict(event.headers)[":status"]
            elif isinstance(event, h2.events.DataReceived):
                got[event.stream_id] += event.data
                if event.stream_id != stalled:
                    conn.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                over[event.stream_id] = event
            elif isinstance(event, h2.events.ConnectionTerminated):
                away.append(event.error_code)
        sock.sendall(conn.data_to_send())


publish("h2", b"there is such a topic")
for stream in got:
    conn.send_headers(
        stream,
        [(":method", "GET"), (":scheme", "http"), (":authority", "%s:%s" % (host, port)), (":path", "/topics/h2?as=stream")],
        end_stream=True,
    )
sock.sendall(conn.data_to_send())
pump(lambda: all(b"$ping" in data for data in got.values()), "four streams")
assert set(status.values()) == {"200"}, status
assert subscribers("h2") == 4

# 3 MB for each; the window of a stream is 64 KiB.
for n in range(300):
    publish("h2", b"%d " % n + b"x" * 10_000)
    pump(lambda: all(got[s].count(b'"data":"%d ' % n) == 1 for s in got if s != stalled), "event %d on the others" % n)
assert len(got[stalled]) <= 65535, len(got[stalled])
print("stalled with", len(got[stalled]), "bytes, the others have", {s: len(d) for s, d in got.items() if s != stalled})

# It goes on when it takes more, and has missed nothing.
for n in range(300):
    conn.increment_flow_control_window(20_000, stalled)
sock.sendall(conn.data_to_send())
pump(lambda: got[stalled].count(b'"data":"') == 300, "all events on the stalled stream")
assert got[stalled].split(b"\n")[1:] == got[1].split(b"\n")[1:], "another order"

# Only the stream that is reset ends, and its subscription with it.
for left, stream in ((3, 1), (2, stalled)):
    conn.reset_stream(stream, error_code=8)
    sock.sendall(conn.data_to_send())
    until("%d subscribers" % left, lambda: subscribers("h2") == left)
publish("h2", b"the last")
pump(lambda: all(got[s].endswith(b"}\n") and b"the last" in got[s] for s in (3, 7)), "the last event")
assert not over, over

print("ready to stop", flush=True)
pump(lambda: away and 3 in over and 7 in over, "GOAWAY")
assert set(away) == {0}, away
print("done")
