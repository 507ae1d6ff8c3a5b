"""The package requests (python3-requests)."""
import sys

import requests

base = sys.argv[1]
topic = base + "/topics/python/requests"

session = requests.Session()
session.trust_env = False

cursor = session.get(topic, timeout=150).json()["cursor"]
for n in range(100):
    answer = session.get(topic, params={"after": cursor}, timeout=150)
    assert answer.status_code == 200 and answer.raw.version == 11, (answer.status_code, answer.raw.version)
    assert answer.headers["Content-Type"] == "application/json"
    page = answer.json()
    assert page["events"] == [] and page["more"] is False, page
print("polls:", n + 1, "version:", answer.raw.version)

answer = session.post(topic, json={"n": 1}, timeout=150)
assert answer.status_code == 201, answer.text
first = answer.json()["id"]
assert session.get(topic, headers={"If-None-Match": f'"{first}"'}, timeout=150).status_code == 304
assert session.get(topic, params={"after": cursor}, timeout=150).links["next"]["url"] == "?after=" + first

# Streams need their connection until they are closed: another session, so that
# the one above has shown that it needs only one.
with requests.Session() as other:
    other.trust_env = False
    with other.get(topic, params={"after": "earliest"}, headers={"Accept": "text/event-stream"}, stream=True, timeout=150) as stream:
        assert stream.status_code == 200 and stream.headers["Content-Type"] == "text/event-stream"
        got = []
        for line in stream.iter_lines(chunk_size=1):
            if line.startswith(b"id: "):
                got.append(line[4:].decode())
            if line == b'data: {"n": 1}':
                break
        print("sse:", got)
        assert got[-1] == first
print("done")
