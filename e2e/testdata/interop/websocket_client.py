"""websocket_client (python3-websocket) talks to an echo server."""
import os
import sys

import websocket

url = sys.argv[1]
large = os.urandom(1 << 20)


def connect():
    ws = websocket.create_connection(url, timeout=150, subprotocols=["unknown", "echo"])
    assert ws.getsubprotocol() == "echo"
    return ws


def expect(ws, opcode, payload):
    got, data = ws.recv_data(control_frame=True)
    assert (got, data) == (opcode, payload), (got, data[:100])


def echoes(ws, payload, opcode):
    ws.send(payload, opcode)
    expect(ws, opcode, payload.encode() if opcode == websocket.ABNF.OPCODE_TEXT else payload)


TEXT, BINARY = websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY
ws = connect()
echoes(ws, "grüße 🦫", TEXT)
echoes(ws, "", TEXT)
echoes(ws, bytes(range(256)), BINARY)
echoes(ws, large, BINARY)
echoes(ws, "ü" * (1 << 19), TEXT)

# In fragments, cut within a character, with a ping between them.
parts = "frägmänts 🦫".encode()
ws.send_frame(websocket.ABNF.create_frame(parts[:3], TEXT, fin=0))
ws.ping(b"between")
ws.send_frame(websocket.ABNF.create_frame(parts[3:-2], websocket.ABNF.OPCODE_CONT, fin=0))
ws.send_frame(websocket.ABNF.create_frame(parts[-2:], websocket.ABNF.OPCODE_CONT, fin=1))
expect(ws, websocket.ABNF.OPCODE_PONG, b"between")
expect(ws, TEXT, parts)

ws.send("fragments")
assert ws.recv() == "fragments"
ws.send("ping")  # recv answers the server's
assert ws.recv() == "pong"

ws.send_close(4001, "enough €".encode())
expect(ws, websocket.ABNF.OPCODE_CLOSE, b"\x0f\xa1" + "enough €".encode())
ws.shutdown()

ws = connect()
ws.send("close 4002 bye €")
expect(ws, websocket.ABNF.OPCODE_CLOSE, b"\x0f\xa2" + "bye €".encode())
ws.shutdown()

connect().close()
print("done")
