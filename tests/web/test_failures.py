"""The error pages, and the files that come from elsewhere."""

import hashlib
import json
from pathlib import Path

import pytest
from django.conf import settings
from django.db import OperationalError
from django.test import Client
from django.urls import reverse

from runs.web.pages import runs as runs_page

ROOT = Path(settings.BASE_DIR)


def test_fault_06_a_database_out_of_reach_is_503_and_asks_to_come_back(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OperationalError("could not connect to server")

    monkeypatch.setattr(runs_page, "cut", broken)
    admin.raise_request_exception = False
    response = admin.get(reverse("runs"))
    assert response.status_code == 503
    assert response["Retry-After"] == "5"
    assert "could not connect" not in response.content.decode()


def test_a_fault_of_ours_is_500_in_our_look(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a secret detail")

    monkeypatch.setattr(runs_page, "cut", broken)
    admin.raise_request_exception = False
    response = admin.get(reverse("runs"))
    assert response.status_code == 500
    html = response.content.decode()
    assert "Something broke" in html
    assert "a secret detail" not in html


@pytest.mark.parametrize(
    "entry",
    json.loads((ROOT / "static/VENDORED.json").read_text()),
    ids=lambda entry: entry["name"],
)
def test_vendored_files_are_what_the_list_says(entry: dict[str, str]) -> None:
    found = hashlib.sha256((ROOT / entry["file"]).read_bytes()).hexdigest()
    assert found == entry["sha256"]
    assert (ROOT / entry["licence_file"]).read_text().strip()


def test_every_icon_that_is_named_is_in_the_sprite() -> None:
    import re

    from runs.templatetags.hub import ICONS, OTHERS

    sprite = set(
        re.findall(r'id="i-([a-z0-9-]+)"', (ROOT / "templates/web/_icons.svg").read_text())
    )
    named = set(ICONS.values()) | {name for _, name in OTHERS.values()} | {"ban", "circle-pause"}
    for template in (ROOT / "templates").rglob("*.html"):
        text = template.read_text()
        named |= set(re.findall(r'{% icon "([a-z0-9-]+)" %}', text))
        named |= set(re.findall(r' name="([a-z0-9-]+)" word=', text))
        named |= set(re.findall(r'href="#i-([a-z0-9-]+)"', text))
    assert named == sprite


def test_scripts_stay_small() -> None:
    size = sum(path.stat().st_size for path in (ROOT / "static").rglob("*.js"))
    assert size < 60_000
