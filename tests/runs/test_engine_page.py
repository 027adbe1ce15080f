"""Where an engine's own UI shows a run."""

import pytest

from engines.adapters.local.adapter import Adapter
from engines.models import Engine
from runs.engine_page import engine_page
from runs.models import WorkflowRun
from runs.states import RunState
from tests.factories import make_engine, make_run

pytestmark = pytest.mark.django_db


def run_there() -> WorkflowRun:
    return make_run(engine=make_engine(), state=RunState.RUNNING, external_id="wh-1")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", ""),
        ("https://engine.example/runs/wh-1", "https://engine.example/runs/wh-1"),
        ("http://ada:pw@engine.example:8080/x?y=1", "http://engine.example:8080/x?y=1"),
        ("javascript:alert(1)", ""),
        ("//engine.example/x", ""),
        ("https://engine.example/\u202ex", ""),
        ("https://[", ""),
    ],
)
def test_only_an_address_that_is_safe_to_follow_is_given(
    monkeypatch: pytest.MonkeyPatch, address: str, shown: str
) -> None:
    run = run_there()
    monkeypatch.setattr(Adapter, "link", lambda self, key: address)
    assert engine_page(run) == shown


def test_a_run_that_no_engine_has_is_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Adapter, "link", lambda self, key: "https://engine.example/")
    assert engine_page(make_run()) == ""
    run = run_there()
    run.external_id = ""
    assert engine_page(run) == ""


def test_an_engine_that_cannot_be_opened_has_no_page() -> None:
    run = run_there()
    Engine.objects.update(kind="gone")
    assert engine_page(WorkflowRun.objects.select_related("engine").get(pk=run.pk)) == ""
