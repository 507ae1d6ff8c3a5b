"""Python's parser of mail reads what a topic answers as multipart."""

import email.parser
import email.policy
import json
import sys
import urllib.request

url = sys.argv[1]
request = urllib.request.Request(url + "?after=earliest", headers={"Accept": "multipart/mixed"})
with urllib.request.urlopen(request, timeout=150) as answer:
    head = b"Content-Type: " + answer.headers["Content-Type"].encode() + b"\r\n\r\n"
    mail = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + answer.read())
assert mail.is_multipart() and mail.get_content_type() == "multipart/mixed", mail
assert not mail.defects, mail.defects
parts = list(mail.iter_parts())
assert [p.get_content_type() for p in parts[:-1]] == ["text/plain", "image/png", "application/json"], parts
assert parts[0].get_content() == "grüße", parts[0].get_content()
assert parts[1].get_payload(decode=True).startswith(b"\x89PNG\r\n"), parts[1]
assert json.loads(parts[2].get_payload(decode=True)) == {"n": 1}, parts[2]
assert parts[2]["Event-Type"] == "count" and parts[2]["Event-Topic"] == "mail", parts[2].items()
assert all(p["Event-ID"] for p in parts[:-1])
assert json.loads(parts[0]["Signal"])["event"] == "$ping", parts[0].items()
assert json.loads(parts[-1]["Signal"])["event"] == "$end", parts[-1].items()
print("done")
