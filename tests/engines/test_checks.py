"""Mistakes that are said at start-up."""

from django.core.checks import run_checks

from engines import checks, registry


def ids_of(messages: list) -> list[str]:
    return [message.id for message in messages]


def test_the_settings_of_the_tests_are_without_fault() -> None:
    assert not [message for message in run_checks() if message.id.startswith("workflowhub.E01")]


def test_a_broken_adapter_folder_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(registry, "broken", lambda: {"air": "It has no class Adapter."})
    found = checks.adapters_load(None)
    assert ids_of(found) == ["workflowhub.E010"]
    assert "'air'" in found[0].msg
    assert found[0].hint


def test_a_handler_module_that_isnt_there_is_an_error(settings) -> None:
    settings.WORKFLOWHUB_HANDLER_MODULES = ["json", "no_such.module", "", "..x"]
    found = checks.handler_modules(None)
    assert set(ids_of(found)) == {"workflowhub.E011"}
    assert len(found) == 3


def test_a_quarantine_shorter_than_a_call_is_a_warning(settings) -> None:
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE, settings.WORKFLOWHUB_ENGINE_DEADLINE = 5, 30
    assert ids_of(checks.lengths_fit(None)) == ["workflowhub.W010"]


def test_watched_runs_polled_less_often_is_a_warning(settings) -> None:
    settings.WORKFLOWHUB_ACTIVE_POLL, settings.WORKFLOWHUB_POLL = 20, 10
    assert ids_of(checks.lengths_fit(None)) == ["workflowhub.W011"]


def test_sensible_lengths_are_silent(settings) -> None:
    settings.WORKFLOWHUB_ACTIVE_POLL, settings.WORKFLOWHUB_POLL = 1, 10
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE, settings.WORKFLOWHUB_ENGINE_DEADLINE = 120, 30
    assert checks.lengths_fit(None) == []
