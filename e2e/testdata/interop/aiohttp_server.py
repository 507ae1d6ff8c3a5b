"""An echo server of aiohttp (python3-aiohttp)."""
import asyncio

from aiohttp import WSMsgType, web


def converse(compress):
    async def handler(request):
        ws = web.WebSocketResponse(protocols=["other", "echo"], compress=compress, autoping=False, max_msg_size=2 << 20)
        await ws.prepare(request)
        while True:
            message = await ws.receive()
            if message.type == WSMsgType.TEXT:
                words = message.data.split(" ", 2)
                if words[0] == "close":
                    await ws.close(code=int(words[1]), message=words[2].encode())
                elif words[0] == "ping":
                    await ws.ping(b"anyone")
                else:
                    await ws.send_str(message.data)
            elif message.type == WSMsgType.BINARY:
                await ws.send_bytes(message.data)
            elif message.type == WSMsgType.PING:
                await ws.pong(message.data)
            elif message.type == WSMsgType.PONG:
                assert message.data == b"anyone"
                await ws.send_str("pong")
            else:
                print("closed", ws.close_code, message.extra if message.type == WSMsgType.CLOSE else "", flush=True)
                return ws

    return handler


async def main():
    for form, compress in ("plain", False), ("deflate", True):
        app = web.Application()
        app.router.add_get("/", converse(compress))
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        print("listens", form, site._server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Future()


asyncio.run(main())
