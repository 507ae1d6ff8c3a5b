"""The package websocket-client (python3-websocket)."""
import sys
import threading
import urllib.request

import websocket

url = sys.argv[1].replace("http:", "ws:") + "/topics/python/websocket-client"

ws = websocket.create_connection(url, timeout=150, http_no_proxy=["*"])
ws.send("hello")
got = ws.recv()
print("recv:", got)
assert got == "hello"
ws.send_binary(bytes(range(256)))
opcode, data = ws.recv_data()
print("recv_data:", opcode, len(data))
assert opcode == websocket.ABNF.OPCODE_BINARY and data == bytes(range(256))
ws.close(status=1000)
assert not ws.connected

# The same through its event loop, with a subprotocol.
messages, errors = [], []


def on_open(app):
    app.send('{"op":"subscribe","topic":"python/websocket-client","after":"earliest","ref":1}')


def on_message(app, message):
    messages.append(message)
    if '"data":"goodbye"' in message:
        app.close()
    elif '"op":"ok","ref":1' in message:
        app.send('{"op":"publish","topic":"python/websocket-client","data":"goodbye"}')


def run(app):
    limit = threading.Timer(20, app.close)
    limit.start()
    app.run_forever(http_no_proxy=["*"])
    limit.cancel()


run(
    websocket.WebSocketApp(
        sys.argv[1].replace("http:", "ws:") + "/topics",
        subprotocols=["duplex.v1"],
        on_open=on_open,
        on_message=on_message,
        on_error=lambda app, error: errors.append(error),
    )
)
print("messages:", messages, "errors:", errors)
assert '"$ping"' in messages[0], "the first message is a signal (PROTOCOL.md §8.3)"
assert any('"data":"hello"' in m for m in messages) and '"data":"goodbye"' in messages[-1]
assert not errors

# It is told of the end of a topic.
closes = []


def end(app):
    urllib.request.urlopen(urllib.request.Request(url.replace("ws:", "http:"), method="DELETE"), timeout=150)


run(
    websocket.WebSocketApp(
        url,
        on_open=end,
        on_close=lambda app, code, reason: closes.append((code, reason)),
        on_error=lambda app, error: errors.append(error),
    )
)
print("closes:", closes, "errors:", errors)
assert closes == [(1000, "end")] and not errors
print("done")
