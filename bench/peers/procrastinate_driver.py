"""Gives work to the procrastinate workers of the benchmark and measures it."""

import asyncio
import json
import sys
import time

from procrastinate_app import app, link, nothing

OPEN = "SELECT count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"


async def one(text):
    async with app.connector.pool.connection() as connection:
        cursor = await connection.execute(text)
        return (await cursor.fetchone())[0]


async def parallel(number):
    began = time.time()
    await nothing.batch_defer_async(*({} for _ in range(number)))
    while await one(OPEN):
        await asyncio.sleep(0.01)
    return {"seconds": time.time() - began}


async def in_a_row(number):
    began = time.time()
    await link.defer_async(left=number - 1, times=[])
    while not await one("SELECT count(*) FROM bench_times"):
        await asyncio.sleep(0.01)
    seconds = time.time() - began
    times = json.loads(await one("DELETE FROM bench_times RETURNING times"))
    gaps = [(times[n + 1][0] - times[n][1]) * 1000 for n in range(len(times) - 1)]
    return {"seconds": seconds, "gaps": gaps}


async def main():
    async with app.open_async():
        loop = asyncio.get_running_loop()
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            asked = json.loads(line)
            work = {"parallel": parallel, "chain": in_a_row}[asked["work"]]
            print(json.dumps(await work(asked["number"])), flush=True)


asyncio.run(main())
