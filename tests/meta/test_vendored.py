"""What others wrote is listed with its version, licence and hash, and is what the list says."""

import hashlib
import json

import pytest

from tests.meta import source

VENDORED = json.loads(source.text("static/VENDORED.json"))


@pytest.mark.parametrize("entry", VENDORED, ids=lambda entry: entry["file"])
def test_a_vendored_file_is_what_the_list_says(entry: dict[str, str]) -> None:
    assert hashlib.sha256((source.ROOT / entry["file"]).read_bytes()).hexdigest() == entry["sha256"]
    assert entry["version"]
    assert entry["licence"]
    assert (source.ROOT / entry["licence_file"]).is_file()


def test_every_vendored_file_is_listed() -> None:
    listed = {entry[key] for entry in VENDORED for key in ("file", "licence_file")}
    vendored = {
        name for name in source.files() if name.startswith("static/vendor/") or ".min." in name
    }
    assert vendored <= listed
