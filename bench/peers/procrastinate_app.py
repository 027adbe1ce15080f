"""The procrastinate application of the benchmark: worker and driver import it under its interpreter."""

import json
import os
import time

import procrastinate

app = procrastinate.App(
    connector=procrastinate.PsycopgConnector(conninfo=os.environ["BENCH_DATABASE"])
)


@app.task(queue="bench")
async def nothing():
    return None


@app.task(queue="bench")
async def link(left, times):
    """Notes when it ran, and asks for the next one; the last one keeps what all have noted."""
    started = time.time()
    times = [*times, [started, time.time()]]
    if left:
        await link.defer_async(left=left - 1, times=times)
        return
    async with app.connector.pool.connection() as connection:
        await connection.execute("INSERT INTO bench_times VALUES (%s)", [json.dumps(times)])
