"""Processes that are told to die at a point, and the many that are not."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from engines import faults

ROOT = Path(__file__).resolve().parents[2]
COUNTS = """
import os
from engines.faults import crash_point
for number in range(3):
    if os.fork() == 0:
        crash_point("here")
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
crash_point("elsewhere")
crash_point("here")
print("alive")
"""


def run(crash_at: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COUNTS],
        cwd=ROOT,
        env={**os.environ, faults.VARIABLE: crash_at},
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("crash_at", "said", "code"),
    [
        ("", "0 0 0 alive", 0),
        ("here:2", "0 -9 0 alive", 0),  # the second of the children: they count together
        ("here:4", "0 0 0", -signal.SIGKILL),
        ("elsewhere:1", "0 0 0", -signal.SIGKILL),
        ("nowhere:1", "0 0 0 alive", 0),
    ],
)
def test_a_process_dies_when_it_comes_to_the_point_for_the_nth_time(
    crash_at: str, said: str, code: int
) -> None:
    ended = run(crash_at)
    assert (ended.stdout.split(), ended.returncode) == (said.split(), code), ended.stderr


@pytest.mark.parametrize("text", ["here", "here:", "here:0", "here:-1", "here:x", "here:1:2"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="write name:n"):
        faults.arm(text)
    assert faults.armed() == ""
