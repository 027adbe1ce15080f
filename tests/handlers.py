# ruff: noqa: T201, BLE001  what badly behaved steps do
"""Functions for the tests of the worker: WORKFLOWHUB_HANDLER_MODULES=tests.handlers."""

import base64
import ctypes
import json
import logging
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from urllib.parse import quote

from engines.dag.callables import Permanent, handler


@handler("noop")
def noop():
    return time.monotonic()


@handler("span")
def span(**arguments):
    start = time.monotonic()
    return {"start": start, "end": time.monotonic(), **arguments}


@handler("add")
def add(left, right):
    return left + right


@handler("fail")
def fail(text="It went wrong."):
    raise ValueError(text)


@handler("fail_for_good")
def fail_for_good():
    raise Permanent("Nothing can be done.")


@handler("fail_until")
def fail_until(times, context):
    """Fails so many times, then gives the number of the try."""
    counter = context.output_dir / "count"
    count = int(counter.read_text()) if counter.exists() else 0
    counter.write_text(str(count + 1))
    if count < times:
        raise ValueError(f"Failure {count + 1}.")
    return context.try_number


@handler("mark")
def mark(path, seconds=0.0):
    """Writes a line at its start and its end."""
    with Path(path).open("a") as file:
        file.write(f"start {os.getpid()}\n")
        file.flush()
        time.sleep(seconds)
        file.write(f"end {os.getpid()}\n")
    return "done"


@handler("sign")
def sign(path, context, seconds=0.0):
    """Writes the step's name before it does anything."""
    handle = os.open(path, os.O_WRONLY | os.O_APPEND)
    os.write(handle, f"{context.step}\n".encode())
    os.close(handle)
    time.sleep(seconds)


@handler("stubborn")
def stubborn(path):
    """Ignores SIGTERM, and whatever is raised within it."""
    Path(path).write_text(str(os.getpid()))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        try:
            time.sleep(60)
        except BaseException:
            continue


@handler("hoard")
def hoard(size, context):
    """Fills its folder and ignores SIGTERM."""
    (context.output_dir / "hoard").write_bytes(bytes(size))
    stubborn(context.output_dir / "pid")


@handler("die")
def die(number=9):
    os.kill(os.getpid(), number)
    time.sleep(10)


@handler("leave")
def leave(code=3):
    os._exit(code)


@handler("fork_and_return")
def fork_and_return(path):
    """Leaves a process behind that has left its session."""
    process = subprocess.Popen(["sleep", "300"], start_new_session=True)
    Path(path).write_text(str(process.pid))
    return process.pid


@handler("eat")
def eat():
    """All the memory that there is."""
    eaten = []
    while True:
        eaten.append(bytearray(16_000_000))


@handler("speak")
def speak(context):
    print("from Python")
    os.write(2, b"from C\n")
    ctypes.CDLL(None).puts(b"from puts")
    ctypes.CDLL(None).fflush(None)
    subprocess.run(["echo", "from a program"], check=True)
    context.log("from the context")


@handler("flood")
def flood(lines):
    for number in range(lines):
        print("x" * 99, number)
    return lines


@handler("report")
def report(seconds, context):
    context.progress(0.25, "a quarter")
    time.sleep(seconds)
    return


# A line in the midst of a value that is told letter by letter would hide it from every mask.
_SPELLS = threading.Lock()


@handler("blab")
def blab(secret, context, fails=False):
    """Tells a secret in every way that a step has."""
    print(f"printed: {secret}")
    print(json.dumps({"as json": secret}), repr(secret))
    print(base64.b64encode(f"ada:{secret}".encode()).decode(), quote(secret, safe=""))
    with _SPELLS:
        for letter in secret:
            os.write(1, letter.encode())
            time.sleep(0.001)
    os.write(2, b"\n" + b"." * 65_530 + secret.encode() + b"." * 70_000 + b"\n")
    context.log(f"logged: {secret}")
    context.progress(0.5, "x" * 490 + secret)
    subprocess.run(["echo", secret], check=True)
    logging.getLogger("a.library").error("A library said %s.", secret)
    threading.Thread(target=_blab_later, args=[secret], daemon=True).start()
    time.sleep(0.1)  # so that the progress is written
    if fails:
        raise ValueError(secret) from KeyError(secret)
    return {"secret": secret, secret: [secret, {"deep": f"in {secret} it"}], "n": 1}


def _blab_later(secret):
    while True:
        time.sleep(0.1)
        with _SPELLS:
            print(f"late: {secret}", flush=True)


@handler("large")
def large(size):
    return "x" * size


@handler("not_json")
def not_json():
    return {1, 2}


@handler("GenomeAssembly2")
def assemble(params):
    return {"app": "GenomeAssembly2", "seen": params["output_file"]}


@handler("GenomeAnnotation")
def annotate(contigs, output_path, **others):
    return {"genome": f"{output_path}/from:{contigs}"}
