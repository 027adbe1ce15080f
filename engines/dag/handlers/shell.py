"""`shell`: a program with its arguments. No shell reads them, nothing of the hub's environment is
passed on but a few harmless names, and the program and all that it starts end with the step."""

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from django.conf import settings

from engines.dag.callables import Permanent
from engines.dag.context import StepContext

PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR")
PR_SET_PDEATHSIG = 1
CAUSE_CHARACTERS = 300
# Colours and cursor moves (ECMA-48), and other control characters but tab and line ends.
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class ProgramFailed(Exception):
    """The program ended with another code than 0."""


def run_program(arguments: dict[str, Any], context: StepContext) -> dict[str, Any]:
    """Runs `argv` in the step's own folder (or `cwd` beneath it) with `env` added to a clean
    environment: {exit_code, stdout_tail, folder}. Any code but 0 fails the try, with
    the last line of its standard error."""
    argv = arguments.get("argv")
    if not isinstance(argv, list) or not argv:
        raise Permanent("argv must be a list: the program, then its arguments.")
    words = [_word(value) for value in argv]
    folder = context.output_dir
    try:
        process = subprocess.Popen(  # noqa: S603  argv is a list, and posting it needs a permission
            words,
            cwd=_folder(folder, arguments.get("cwd")),
            env=_environment(arguments.get("env") or {}, context, folder),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_die_with_parent(),
        )
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        raise Permanent(f"{words[0]} can't be started: {error.strerror}.") from None
    try:
        code = process.wait()
    except BaseException:
        _end(process)
        raise
    if code:
        how = f"was ended by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        cause = last_line(context.tail("err"))
        raise ProgramFailed(f"{words[0]} {how}: {cause}" if cause else f"{words[0]} {how}.")
    return {"exit_code": code, "stdout_tail": context.tail("out"), "folder": str(folder)}


def last_line(text: str) -> str:
    """The last line that says something, without colours: what most programs die with. At most
    CAUSE_CHARACTERS of it."""
    for line in reversed(re.split(r"[\r\n]+", _ESCAPE.sub("", text))):
        if words := line.strip():
            return words if len(words) <= CAUSE_CHARACTERS else f"{words[:CAUSE_CHARACTERS]}…"
    return ""


def _word(value: Any) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, (int, float)):
        text = str(value)
    else:
        kind = type(value).__name__
        raise Permanent(f"argv or env holds a {kind}: each part must be a text or a number.")
    if "\x00" in text:
        raise Permanent("argv holds a NUL character.")
    return text


def _folder(own: Path, wanted: Any) -> Path:
    """The folder to run in, inside the step's own."""
    if wanted is None:
        return own
    folder = (own / str(wanted)).resolve()
    if not folder.is_relative_to(own.resolve()):
        raise Permanent(f"cwd must be inside the step's own folder, and {wanted!r} is not.")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _environment(added: Mapping[str, Any], context: StepContext, folder: Path) -> dict[str, str]:
    own = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    own |= {
        "HOME": str(folder),
        "WORKFLOWHUB_RUN_UUID": context.run.uuid,
        "WORKFLOWHUB_STEP": context.step,
        "WORKFLOWHUB_TRY": str(context.try_number),
    }
    if marker := os.environ.get("WORKFLOWHUB_WORKER_ID"):
        own["WORKFLOWHUB_WORKER_ID"] = marker  # recovery finds what a dead worker left by it
    return own | {str(name): _word(value) for name, value in added.items()}


def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the program and what it started; SIGKILL after the grace."""
    _signal_group(process.pid, signal.SIGTERM)
    try:
        process.wait(settings.WORKFLOWHUB_KILL_GRACE)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()


def _signal_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _die_with_parent() -> Callable[[], None] | None:
    """Linux: the kernel ends the program when its worker dies, whatever it dies of."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        # What the worker ignores or blocks for itself isn't for its steps.
        signal.pthread_sigmask(signal.SIG_SETMASK, [])

    return ask
