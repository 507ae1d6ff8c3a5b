"""The package aiohttp (python3-aiohttp)."""
import asyncio
import sys

import aiohttp

base = sys.argv[1]
topic = base + "/topics/python/aiohttp"


async def main():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=150)) as session:
        async with session.ws_connect(topic, heartbeat=5) as ws:
            await ws.send_str("hello")
            message = await ws.receive(timeout=150)
            print("websocket:", message.type, message.data)
            assert message.type == aiohttp.WSMsgType.TEXT and message.data == "hello"
            await ws.send_bytes(b"\x00\xff")
            message = await ws.receive(timeout=150)
            assert message.type == aiohttp.WSMsgType.BINARY and message.data == b"\x00\xff"
            await ws.close()
            print("close:", ws.close_code)
            assert ws.close_code == 1000

        headers = {"Accept": "text/event-stream"}
        async with session.get(topic, params={"after": "earliest"}, headers=headers) as stream:
            assert stream.status == 200 and stream.content_type == "text/event-stream"
            async with session.post(topic, json={"n": 1}) as answer:
                assert answer.status == 201
            got = []
            async for line in stream.content:
                if line.startswith(b"data: ") and not line.startswith(b'data: {"interval"'):
                    got.append(line[6:].decode().rstrip("\n"))
                    if len(got) == 3:
                        break
            print("sse:", got)
            assert got == ["hello", "data:application/octet-stream;base64,AP8=", '{"n": 1}']

        # A held poll, and a publish beside it.
        async with session.get(topic) as answer:
            cursor = (await answer.json())["cursor"]
        held = asyncio.create_task(session.get(topic, params={"after": cursor, "wait": "15"}))
        async with session.post(topic, data=b"next", headers={"Content-Type": "text/plain"}) as answer:
            assert answer.status == 201
        async with await held as answer:
            page = await answer.json()
        print("longpoll:", page)
        assert [event["data"] for event in page["events"]] == ["next"]


asyncio.run(asyncio.wait_for(main(), 25))
print("done")
