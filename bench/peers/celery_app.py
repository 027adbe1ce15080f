"""The Celery application of the benchmark: worker and driver import it under Celery's interpreter."""

import os
import time

from celery import Celery

app = Celery("bench", broker=os.environ["BENCH_BROKER"], backend=os.environ["BENCH_BROKER"])
app.conf.worker_prefetch_multiplier = 4
app.conf.broker_connection_retry_on_startup = True
if os.environ.get("BENCH_OBSERVABLE") == "1":
    # What somebody needs who wants to see what tasks do.
    app.conf.task_track_started = True
    app.conf.task_send_sent_event = True
    app.conf.worker_send_task_events = True
    app.conf.result_extended = True


@app.task
def nothing():
    return None


@app.task
def link(times):
    """Adds the time at which it starts and that at which it ends."""
    started = time.time()
    return [*times, [started, time.time()]]
