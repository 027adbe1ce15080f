"""Gives work to the Celery worker of the benchmark and measures it."""

import json
import sys
import time

from celery import chain, group
from celery_app import link, nothing


def parallel(number):
    began = time.time()
    group(nothing.s() for _ in range(number)).apply_async().get(timeout=300)
    return {"seconds": time.time() - began}


def in_a_row(number):
    began = time.time()
    steps = [link.s([]), *(link.s() for _ in range(number - 1))]
    times = chain(*steps).apply_async().get(timeout=300)
    gaps = [(times[n + 1][0] - times[n][1]) * 1000 for n in range(len(times) - 1)]
    return {"seconds": time.time() - began, "gaps": gaps}


for line in sys.stdin:
    asked = json.loads(line)
    work = {"parallel": parallel, "chain": in_a_row}[asked["work"]]
    print(json.dumps(work(asked["number"])), flush=True)
