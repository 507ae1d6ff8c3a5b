"""A client of aiohttp (python3-aiohttp) talks to an echo server."""
import asyncio
import os
import sys

import aiohttp
from aiohttp import WSMsgType

url, form = sys.argv[1:3]
large = os.urandom(1 << 20)


async def main():
    async with aiohttp.ClientSession() as session:

        def connect(**options):
            compress = 0 if form == "plain" else 15
            return session.ws_connect(url, protocols=["unknown", "echo"], compress=compress, max_msg_size=2 << 20, **options)

        async with connect() as ws:
            assert ws.protocol == "echo"
            assert bool(ws.compress) == (form != "plain"), ws.compress
            for text in ("grüße 🦫", "", "ü" * (1 << 19), "again and " * 1000, "again and " * 1000):
                await ws.send_str(text)
                assert await ws.receive_str() == text
            for data in (bytes(range(256)), large):
                await ws.send_bytes(data)
                assert await ws.receive_bytes() == data
            await ws.send_str("fragments")
            assert await ws.receive_str() == "fragments"
            await ws.send_str("ping")  # receive answers the server's
            assert await ws.receive_str() == "pong"
            await ws.close(code=4001, message="enough €".encode())
            assert ws.close_code == 4001

        async with connect(autoping=False) as ws:
            await ws.ping(b"anyone")
            message = await ws.receive()
            assert (message.type, message.data) == (WSMsgType.PONG, b"anyone")
            await ws.send_str("close 4002 bye €")
            message = await ws.receive()
            assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4002, "bye €"), message

        async with connect():
            pass


asyncio.run(asyncio.wait_for(main(), 25))
print("done")
