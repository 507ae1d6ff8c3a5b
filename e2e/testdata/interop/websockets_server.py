"""An echo server of websockets (python3-websockets)."""
import asyncio

import websockets


async def converse(ws):
    try:
        async for message in ws:
            words = message.split(" ", 2) if isinstance(message, str) else [message]
            if words[0] == "close":
                await ws.close(int(words[1]), words[2])
            elif words[0] == "ping":
                # Its pong is read beside this.
                await (await ws.ping(b"anyone"))
                await ws.send("pong")
            elif words[0] == "fragments":
                await ws.send(["frag", "", "ments"])
            else:
                await ws.send(message)
    finally:
        print("closed", ws.close_code, ws.close_reason, flush=True)


async def serve(compression):
    options = {"compression": compression, "max_size": 2 << 20, "subprotocols": ["other", "echo"]}
    server = await websockets.serve(converse, "127.0.0.1", 0, **options)
    print("listens", "plain" if compression is None else "deflate", server.sockets[0].getsockname()[1], flush=True)


async def main():
    await serve(None)
    await serve("deflate")
    await asyncio.Future()


asyncio.run(main())
