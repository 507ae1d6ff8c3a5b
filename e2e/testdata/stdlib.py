"""Every transport with nothing but Python's standard library."""
import base64
import hashlib
import http.client
import json
import os
import socket
import struct
import sys
import urllib.parse
import urllib.request

base = sys.argv[1]
address = urllib.parse.urlsplit(base)
urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
topic = base + "/topics/python/stdlib"


def publish(data, media="text/plain; charset=utf-8", **headers):
    request = urllib.request.Request(topic, data.encode(), {"Content-Type": media, **headers})
    with urllib.request.urlopen(request, timeout=150) as answer:
        assert answer.status == 201, answer.status
        return json.load(answer)["id"]


def poll(query=""):
    with urllib.request.urlopen(topic + query, timeout=150) as answer:
        return json.load(answer)


# Publish and poll.
first = publish("hello")
assert publish("hello", **{"Idempotency-Key": "one"}) == publish("hello", **{"Idempotency-Key": "one"})
second = publish('{"n": 2}', "application/json")
page = poll("?after=" + first)
print("poll:", page)
assert [event["data"] for event in page["events"]] == ["hello", {"n": 2}]
assert page["cursor"] == second and page["more"] is False

# A conditional request.
try:
    urllib.request.urlopen(urllib.request.Request(topic, headers={"If-None-Match": f'"{second}"'}), timeout=150)
    raise AssertionError("no 304")
except urllib.error.HTTPError as answer:
    print("conditional:", answer.code)
    assert answer.code == 304

# A held poll, on a connection of its own while another one publishes.
held = http.client.HTTPConnection(address.netloc, timeout=150)
held.request("GET", "/topics/python/stdlib?after=" + second, headers={"Prefer": "wait=15"})
third = publish("three")
answer = held.getresponse()
page = json.load(answer)
print("longpoll:", page)
assert answer.status == 200 and answer.getheader("Preference-Applied") == "wait=15"
assert [event["data"] for event in page["events"]] == ["three"]
held.close()

# An event stream, by the rules of the WHATWG.
stream = http.client.HTTPConnection(address.netloc, timeout=150)
stream.request("GET", "/topics/python/stdlib", headers={"Accept": "text/event-stream", "Last-Event-ID": second})
answer = stream.getresponse()
assert answer.status == 200 and answer.getheader("Content-Type") == "text/event-stream"
publish("several\nlines")
messages, message, data = [], {}, []
while len(messages) < 2:
    line = answer.readline().decode().rstrip("\n")
    if line:
        field, _, value = line.partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "data":
            data.append(value)
        else:
            message[field] = value
    else:
        if data and not message.get("event", "").startswith("$"):
            messages.append((message.get("id"), "\n".join(data)))
        message, data = {}, []
stream.close()
print("sse:", messages)
assert messages[0] == (third, "three") and messages[1][1] == "several\nlines"


# A WebSocket by hand.
def exactly(n):
    data = b""
    while len(data) < n:
        more = ws.recv(n - len(data))
        assert more, "the connection ended"
        data += more
    return data


def frame(opcode, payload):
    assert len(payload) < 126
    mask = os.urandom(4)
    return bytes([0x80 | opcode, 0x80 | len(payload)]) + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


def receive():
    while True:
        head, length = exactly(2)
        assert length < 126 and head & 0x70 == 0
        payload = exactly(length)
        if head & 0xF == 9:  # a ping
            ws.sendall(frame(10, payload))
            continue
        return head & 0xF, payload


key = base64.b64encode(os.urandom(16))
ws = socket.create_connection((address.hostname, address.port), timeout=150)
ws.sendall(
    b"GET /topics/python/stdlib HTTP/1.1\r\nHost: %s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n" % (address.netloc.encode(), key)
)
head = b""
while not head.endswith(b"\r\n\r\n"):
    head += exactly(1)
accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest())
assert head.startswith(b"HTTP/1.1 101 ") and b"Sec-WebSocket-Accept: " + accept in head, head
ws.sendall(frame(1, "grüße".encode()))
got = receive()
print("websocket:", got)
assert got == (1, "grüße".encode())
publish("from elsewhere")
assert receive() == (1, b"from elsewhere")
ws.sendall(frame(8, struct.pack(">H", 1000)))
opcode, payload = receive()
assert opcode == 8 and payload[:2] == struct.pack(">H", 1000), (opcode, payload)
assert ws.recv(1) == b"", "the server closes the connection first (RFC 6455 §7.1.1)"
ws.close()

# Problems are JSON that says what is wrong.
try:
    urllib.request.urlopen(urllib.request.Request(base + "/topics/a*", b"x"), timeout=150)
    raise AssertionError("published to a pattern")
except urllib.error.HTTPError as answer:
    problem = json.load(answer)
    print("problem:", problem)
    assert answer.code == 400 and answer.headers["Content-Type"] == "application/problem+json"
    assert problem["type"].startswith("urn:duplex:problem:")
print("done")
