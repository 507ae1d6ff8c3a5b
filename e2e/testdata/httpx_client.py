"""The package httpx (python3-httpx), with HTTP/2 (python3-h2)."""
import sys
import threading

import httpx

base, authority = sys.argv[1:]
topic = base + "/topics/python/httpx"

with httpx.Client(http2=True, verify=authority, trust_env=False, timeout=150) as client:
    answer = client.post(topic, content=b"first", headers={"Content-Type": "text/plain"})
    assert (answer.status_code, answer.http_version) == (201, "HTTP/2"), (answer.status_code, answer.http_version)
    page = client.get(topic)
    assert page.http_version == "HTTP/2" and page.json()["events"][0]["data"] == "first", page.text
    # A held poll, a stream and publishes share the connection.
    with client.stream("GET", topic, headers={"Accept": "text/event-stream"}) as stream:
        assert stream.http_version == "HTTP/2"
        lines = stream.iter_lines()
        while "interval" not in next(lines):
            pass
        held = []
        poll = threading.Thread(target=lambda: held.append(client.get(topic, params={"wait": 20, "after": page.json()["cursor"]})))
        poll.start()
        for n in range(20):
            client.post(topic, content=b"event %d" % n, headers={"Content-Type": "text/plain"})
        poll.join()
        assert held[0].json()["events"][0]["data"] == "event 0" and held[0].http_version == "HTTP/2", held[0].text
        got = []
        while len(got) < 20:
            line = next(lines)
            if line.startswith("data: event"):
                got.append(line.strip())
        assert got == ["data: event %d" % n for n in range(20)], got

# The same URL for a client that does not know HTTP/2.
with httpx.Client(http2=False, verify=authority, trust_env=False, timeout=150) as old:
    answer = old.get(topic, params={"after": "earliest"})
    assert answer.http_version == "HTTP/1.1" and len(answer.json()["events"]) == 21, answer.text
print("done")
