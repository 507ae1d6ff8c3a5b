"""The package websockets (python3-websockets)."""
import asyncio
import json
import sys

import websockets

base = sys.argv[1].replace("http:", "ws:")


async def main():
    async with websockets.connect(base + "/topics/python/websockets", open_timeout=150) as ws:
        assert ws.subprotocol is None
        await ws.send("hello")
        assert await ws.recv() == "hello"
        await ws.send(b"\x00\xff" * 1000)
        assert await ws.recv() == b"\x00\xff" * 1000
        # A message in fragments is one.
        await ws.send(["frag", "men", "ts"])
        got = await ws.recv()
        print("fragments:", got)
        assert got == "fragments"
        await asyncio.wait_for(await ws.ping(), 20)
    print("close:", ws.close_code, ws.close_reason)
    assert ws.close_code == 1000

    async with websockets.connect(base + "/topics", subprotocols=["chat", "duplex.v1"], open_timeout=150) as ws:
        print("subprotocol:", ws.subprotocol)
        assert ws.subprotocol == "duplex.v1"
        await ws.send(json.dumps({"op": "subscribe", "topic": "python/**", "after": "earliest", "ref": "a"}))
        got = []
        async for message in ws:
            message = json.loads(message)
            if "topic" in message:
                got.append(message)
                if len(got) == 3:
                    break
        print("events:", [event["id"] for event in got])
        assert got[0]["data"] == "hello" and got[1]["binary"] and got[2]["data"] == "fragments"

    # A refused publish closes with 1008 and the name of the problem.
    async with websockets.connect(base + "/topics/python/*", open_timeout=150) as ws:
        await ws.send("to a pattern")
        try:
            await ws.recv()
            raise AssertionError("not closed")
        except websockets.ConnectionClosed as closed:
            print("refused:", closed.rcvd)
            assert (closed.rcvd.code, closed.rcvd.reason) == (1008, "bad-topic")


asyncio.run(asyncio.wait_for(main(), 25))
print("done")
