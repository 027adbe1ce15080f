"""What a group of open failures offers: acknowledge, withdraw that, retry all."""

from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.urls import reverse

from runs.models import Acknowledgement, AuditEntry, WorkflowRun
from runs.models.access import Role
from runs.states import RunState
from runs.web.pages import overview, triage
from tests.factories import make_engine, make_run, make_workflow

URL = reverse("overview")
HOSTILE = "<script>alert(1)</script>"


def fail(number: int = 1, fingerprint: str = "same", **kw: object) -> list[WorkflowRun]:
    workflow = kw.pop("workflow", None) or make_workflow({"a": []})
    engine = make_engine()
    given = {"error": "KeyError", "error_task": "a", "fingerprint": fingerprint, **kw}
    return [
        make_run(workflow, engine=engine, state=RunState.FAILED, **given)  # type: ignore[arg-type]
        for _ in range(number)
    ]


def groups(client: Client) -> tuple[list[int], list[int]]:
    """The newest runs of those to see to, and of those that are acknowledged."""
    context = client.get(URL).context
    return (
        [group["newest"] for group in context["groups"]],
        [group["newest"] for group in context["acknowledged"]],
    )


def press(client: Client, run: WorkflowRun, note: str = "") -> int:
    return client.post(reverse("acknowledge", args=[run.pk]), {"note": note}).status_code


def test_an_acknowledged_group_is_set_apart_until_a_newer_run_fails(operator: Client) -> None:
    runs = fail(3)
    assert press(operator, runs[-1], note=f"Ada looks. {HOSTILE}") == 302
    assert groups(operator) == ([], [runs[-1].pk])
    response = operator.get(URL)
    html = response.content.decode()
    assert "<title>Overview" in html
    assert "Ada looks. &lt;script&gt;" in html and HOSTILE not in html
    assert "What has failed is acknowledged" in html
    (newer,) = fail(workflow=runs[0].workflow)
    assert groups(operator) == ([newer.pk], [])
    assert "<title>(4) Overview" in operator.get(URL).content.decode()
    entry = AuditEntry.objects.get(action="acknowledge")
    assert entry.detail["newest"] == runs[-1].pk


def test_what_failed_after_the_page_was_made_is_not_acknowledged_with_it(operator: Client) -> None:
    (shown,) = fail()
    (newer,) = fail(workflow=shown.workflow)
    press(operator, shown)
    assert Acknowledgement.objects.get().newest == shown.pk
    assert groups(operator) == ([newer.pk], [])
    press(operator, newer)
    press(operator, shown, "from an older page")  # takes nothing back
    assert Acknowledgement.objects.get().newest == newer.pk


def test_it_is_of_one_workflow_and_one_error(operator: Client) -> None:
    (one,), (other,), (third,) = fail(), fail(), fail(fingerprint="other")
    press(operator, one)
    assert groups(operator) == ([third.pk, other.pk], [one.pk])


def test_failures_without_a_cause_are_acknowledged_by_their_workflow(operator: Client) -> None:
    (one,) = fail(fingerprint="", error="", error_task="")
    (other,) = fail(fingerprint="", error="", error_task="")
    press(operator, one)
    assert groups(operator) == ([other.pk], [one.pk])


def test_the_form_says_what_it_is_about_and_works_without_javascript(operator: Client) -> None:
    runs = fail(2, error=HOSTILE)
    html = operator.get(reverse("acknowledge", args=[runs[-1].pk])).content.decode()
    assert "Acknowledge 2 failed runs of" in html
    assert '<form method="post"' in html and 'name="note"' in html
    assert HOSTILE not in html


def test_undo_has_it_among_the_open_ones_again(operator: Client) -> None:
    (run,) = fail()
    press(operator, run)
    row = Acknowledgement.objects.get()
    path = reverse("withdraw_acknowledgement", args=[row.pk])
    assert operator.get(path).status_code == 405
    assert operator.post(path).status_code == 302
    assert groups(operator) == ([run.pk], [])
    assert operator.post(path).status_code == 404
    assert AuditEntry.objects.filter(action="withdraw_acknowledgement").count() == 1


def test_what_is_open_no_more_is_not_acknowledged(operator: Client) -> None:
    (run,) = fail()
    WorkflowRun.objects.filter(pk=run.pk).update(state=RunState.COMPLETED)
    response = operator.post(reverse("acknowledge", args=[run.pk]), follow=True)
    assert "No failure of this kind is open any more." in response.content.decode()
    assert not Acknowledgement.objects.exists()


def test_an_overlong_note_is_refused(operator: Client) -> None:
    (run,) = fail()
    press(operator, run, "x" * 1001)
    assert not Acknowledgement.objects.exists()
    press(operator, run, "a\x00b")
    assert Acknowledgement.objects.get().note == "a\ufffdb"


def test_a_viewer_and_a_stranger_may_not(viewer: Client, client: Client) -> None:
    (run,) = fail()
    row = Acknowledgement.objects.create(fingerprint="x", workflow="y", newest=1, by="ada")
    for path in (
        reverse("acknowledge", args=[run.pk]),
        reverse("withdraw_acknowledgement", args=[row.pk]),
    ):
        assert viewer.post(path).status_code == 403
        assert client.post(path).status_code == 302  # to the log-in
    assert Acknowledgement.objects.count() == 1
    html = viewer.get(URL).content.decode()
    assert "The role viewer may not edit runs." in html


def test_a_new_acknowledgement_changes_what_polls_see(operator: Client) -> None:
    (run,) = fail()
    tokens = [operator.get(URL).context["token"]]
    press(operator, run)
    tokens.append(operator.get(URL).context["token"])
    press(operator, run, "another note")
    tokens.append(operator.get(URL).context["token"])
    Acknowledgement.objects.all().delete()
    tokens.append(operator.get(URL).context["token"])
    assert len({*tokens[:3]}) == 3
    assert tokens[3] == tokens[0]


def asked(client: Client, run: WorkflowRun) -> dict[str, list[str]]:
    response = client.get(reverse("retry_alike", args=[run.pk]))
    assert response.status_code == 302, response.content
    path = urlsplit(response["Location"])
    assert path.path == reverse("bulk_confirm")
    return parse_qs(path.query)


def test_retry_all_leads_to_the_confirmation_for_just_these(operator: Client) -> None:
    runs = fail(3)
    settled = fail(workflow=runs[0].workflow)[0]
    WorkflowRun.objects.filter(pk=settled.pk).update(resolved_by=runs[0])
    fail(fingerprint="other", workflow=runs[0].workflow)
    html = operator.get(URL).content.decode()
    assert f'href="{reverse("retry_alike", args=[runs[-1].pk])}"' in html
    assert "Retry all 3" in html
    keys = ",".join(str(run.pk) for run in reversed(runs))
    assert asked(operator, runs[-1]) == {"action": ["retry"], "keys": [keys]}
    response = operator.get(reverse("retry_alike", args=[runs[-1].pk]), follow=True)
    assert response.status_code == 200 and "3" in response.content.decode()


def test_of_more_than_an_address_holds_the_newest_are_retried(
    operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(triage, "MOST_NAMED", 2)
    runs = fail(3)
    assert asked(operator, runs[0])["keys"] == [f"{runs[2].pk},{runs[1].pk}"]
    monkeypatch.setattr(overview, "MOST_NAMED", 2)
    assert "Retry the newest 2<" in operator.get(URL).content.decode()


def test_retry_all_of_what_is_open_no_more_is_not_found(
    operator: Client, browser: Callable[..., Client]
) -> None:
    run = make_run(engine=make_engine(), state=RunState.COMPLETED)
    path = reverse("retry_alike", args=[run.pk])
    assert operator.get(path).status_code == 404
    assert operator.post(path).status_code == 405
    fail(2)
    assert "may not retry runs" in browser(Role.VIEWER).get(URL).content.decode()
