"""A client of websockets (python3-websockets) talks to an echo server."""
import asyncio
import os
import sys

import websockets

url, form = sys.argv[1:3]
large = os.urandom(1 << 20)


def connect():
    compression = None if form == "plain" else "deflate"
    return websockets.connect(url, subprotocols=["unknown", "echo"], compression=compression, max_size=2 << 20)


async def echoes(ws, message):
    await ws.send(message)
    assert await ws.recv() == message


async def main():
    async with connect() as ws:
        assert ws.subprotocol == "echo"
        assert [e.name for e in ws.extensions] == ([] if form == "plain" else ["permessage-deflate"]), ws.extensions
        for message in ("grüße 🦫", "", bytes(range(256)), large, "ü" * (1 << 19), "again and " * 1000, "again and " * 1000):
            await echoes(ws, message)
        await ws.send(["fräg", "", "mänts"])
        assert await ws.recv() == "frägmänts"
        await ws.send([b"\xff", b"\xfe" * 70000])
        assert await ws.recv() == b"\xff" + b"\xfe" * 70000
        await ws.send("fragments")
        assert await ws.recv() == "fragments"
        await (await ws.ping(b"anyone"))
        await ws.send("ping")
        assert await ws.recv() == "pong"
        await ws.close(4001, "enough €")
        assert (ws.close_code, ws.close_reason) == (4001, "enough €")

    async with connect() as ws:
        await ws.send("close 4002 bye €")
        try:
            await ws.recv()
            raise AssertionError("not closed")
        except websockets.ConnectionClosedError as closed:
            assert (closed.rcvd.code, closed.rcvd.reason, closed.rcvd_then_sent) == (4002, "bye €", True), closed

    async with connect():
        pass


asyncio.run(asyncio.wait_for(main(), 25))
print("done")
