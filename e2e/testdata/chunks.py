"""aiohttp publishes bodies whose length it does not know."""
import asyncio
import sys

import aiohttp

topic = sys.argv[1]


async def parts(i):
    yield b"part "
    yield str(i).encode()


async def main():
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=150)) as session:
        for i in range(5):
            async with session.post(topic, data=parts(i), headers={"Content-Type": "text/plain"}) as answer:
                assert answer.status == 201, answer.status
                await answer.read()


asyncio.run(main())
print("done")
