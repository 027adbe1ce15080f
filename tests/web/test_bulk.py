"""One deed for many runs, over the pages: ticked or by filter, confirmed, watched, canceled."""

import re
from collections.abc import Callable
from html import unescape
from typing import Any
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.urls import reverse

from engines.clock import database_now
from runs.labels import labels_of
from runs.models import BulkJob, Heartbeat, IdempotencyKey, WorkflowRun
from runs.reconciler.once import once
from runs.states import RunState
from tests.factories import make_run, make_user, make_workflow

FAILED = "state=FAILED"
HOSTILE = '"><script>alert(1)</script>'


def failed(number: int = 3, **kw: Any) -> list[WorkflowRun]:
    workflow = kw.pop("workflow", None) or make_workflow()
    states = {"extract": "COMPLETED", "load": "FAILED"}
    return [
        make_run(workflow, state=RunState.FAILED, task_states=states, **kw) for _ in range(number)
    ]


def address(action: str = "retry", **given: Any) -> str:
    given = given or {"query": FAILED}
    return f"{reverse('bulk_confirm')}?{urlencode({'action': action, **given}, doseq=True)}"


def form_of(html: str) -> dict[str, str]:
    """The hidden fields of the form that confirms."""
    form = html[html.index('<form method="post" class="form">') :]
    pairs = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', form)
    return {name: unescape(value) for name, value in pairs}


def confirm(client: Client, url: str, **given: Any) -> Any:
    """Opens the page and sends its form."""
    form = form_of(client.get(url).content.decode())
    return client.post(url, {"mode": "failed", **form, **given})


def test_two_clicks_retry_200_failed_runs_of_a_kind(operator: Client) -> None:
    workflow = make_workflow()
    runs = failed(200, workflow=workflow, fingerprint="f" * 16)
    other = failed(1, workflow=workflow, fingerprint="e" * 16)[0]
    overview = operator.get(reverse("overview")).content.decode()
    link = re.findall(r'href="(/triage/\d+/retry/)"', overview)[0]  # Retry all 200
    page = operator.get(link, follow=True)
    assert "Retry 200 runs?" in page.content.decode()
    url = page.redirect_chain[-1][0]
    sent = operator.post(url, {"mode": "failed", **form_of(page.content.decode())}, follow=True)
    job = BulkJob.objects.get()
    assert sent.redirect_chain == [(reverse("bulk_job", args=[job.pk]), 302)]
    for _ in range(20):  # a round has only so much time for it
        once()
        job.refresh_from_db()
        if job.ended_at:
            break
    assert (job.state, job.done, job.skipped) == ("done", 200, 0)
    attempts = WorkflowRun.objects.filter(pk__in=[run.pk for run in runs])
    assert set(attempts.values_list("attempt", flat=True)) == {2}
    assert WorkflowRun.objects.get(pk=other.pk).attempt == 1
    html = operator.get(reverse("bulk_job", args=[job.pk])).content.decode()
    assert "200 done, 0 left out, 0 to go" in html


def test_a_kind_of_failure_is_retried_by_its_fingerprint(operator: Client) -> None:
    runs = failed(3, fingerprint="f" * 16)
    other = failed(1, fingerprint="e" * 16)[0]
    confirm(operator, address(query=f"{FAILED}&fingerprint={'f' * 16}"))
    once()
    attempts = dict(WorkflowRun.objects.values_list("pk", "attempt"))
    assert [attempts[run.pk] for run in (*runs, other)] == [2, 2, 2, 1]


def test_many_ticked_runs_are_linked_as_far_as_an_address_holds(operator: Client) -> None:
    runs = failed(101)
    url = confirm(operator, address(keys=",".join(str(run.pk) for run in runs)))["Location"]
    html = operator.get(url).content.decode()
    assert "The newest 100 of the runs" in html
    link = unescape(re.findall(r'href="(/runs/\?id=[^"]*)"', html)[0])
    assert operator.get(link).status_code == 200
    assert str(runs[0].pk) not in link.partition("=")[2].split(",")


def test_the_page_says_what_will_happen_before_it_does(operator: Client) -> None:
    runs = failed(12)
    make_run(runs[0].workflow, state=RunState.COMPLETED)
    html = operator.get(address(everything="1")).content.decode()
    assert "Retry 13 runs?" in html
    assert "All runs of this hub that you may see." in html
    assert "Of 13 that are meant, 12 have something in them that didn" in html
    assert "Delete 13 runs?" not in operator.get(address("delete")).content.decode()
    assert "None of them is active." in operator.get(address("cancel")).content.decode()
    assert html.count('<td class="tight num"><a href="/runs/') == 10
    assert not BulkJob.objects.exists()
    assert "state:failed" in operator.get(address()).content.decode()


def test_a_form_that_is_sent_twice_makes_one_job(operator: Client) -> None:
    failed()
    url = address()
    form = {"mode": "all", **form_of(operator.get(url).content.decode())}
    first, second = (operator.post(url, form) for _ in range(2))
    assert first["Location"] == second["Location"]
    job = BulkJob.objects.get()
    assert job.options == {"mode": "all"}
    assert IdempotencyKey.objects.get().status == 302
    assert confirm(operator, url)["Location"] != first["Location"]


def test_more_runs_than_were_confirmed_are_asked_about_again(operator: Client) -> None:
    runs = failed(2)
    make_run(runs[0].workflow, state=RunState.FAILED)
    form = form_of(operator.get(address()).content.decode())
    answer = operator.post(address(), {"mode": "failed", **form, "expected": "2"})
    assert answer.status_code == 400
    assert "for 2 runs a moment ago and would be for 3 now" in answer.content.decode()
    assert not BulkJob.objects.exists()
    # Those that began meanwhile aren't among them.
    failed(4)
    operator.post(address(), {"mode": "failed", **form})
    assert BulkJob.objects.get().total == 3


def test_ticked_runs_go_before_the_filter(operator: Client) -> None:
    runs = failed(4)
    url = address(keys=[runs[0].pk, runs[2].pk])
    html = operator.get(url).content.decode()
    assert "Retry 2 runs?" in html
    assert "Runs that were ticked." in html
    confirm(operator, url)
    assert BulkJob.objects.get().keys == [runs[2].pk, runs[0].pk]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keys": []}, "tick some first"),
        ({"keys": ["1", "x"]}, "named by its number"),
        ({"query": "state=NONSENSE"}, "NONSENSE is no state of a run"),
        ({"query": "stat=FAILED"}, "stat is no part of a filter"),
        ({"query": ""}, "No filter is given"),
    ],
)
def test_what_is_not_clear_is_refused_and_means_no_run(
    operator: Client, given: dict[str, Any], said: str
) -> None:
    failed()
    for answer in (operator.get(address(**given)), operator.post(address(**given))):
        assert answer.status_code == 400
    assert said in operator.get(address(**given)).content.decode()
    assert not BulkJob.objects.exists()


def test_nothing_ticked_and_no_filter_means_no_run(operator: Client) -> None:
    failed()
    answer = operator.get(f"{reverse('bulk_confirm')}?action=delete")
    assert answer.status_code == 200  # the reason comes first: operators delete nothing
    answer = operator.get(f"{reverse('bulk_confirm')}?action=retry")
    assert answer.status_code == 400
    assert operator.get(reverse("bulk_confirm")).status_code == 404


def test_labels_are_set_and_taken_back(operator: Client) -> None:
    run = failed(1, labels={"draft": "yes"})[0]
    answer = confirm(operator, address("label"), set="team=lab", remove="draft\nother")
    job = BulkJob.objects.get()
    assert job.options == {"set": {"team": "lab"}, "remove": ["draft", "other"]}
    once()
    assert labels_of(run) == {"team": "lab"}
    html = operator.get(answer["Location"]).content.decode()
    undo = unescape(re.findall(r'href="([^"]*)" title="Asks first"', html)[0])
    html = operator.get(undo).content.decode()
    assert "draft=\nother=</textarea>" in html
    assert ">\nteam</textarea>" in html
    confirm(operator, undo, set="draft=yes", remove="team")
    once()
    assert labels_of(WorkflowRun.objects.get()) == {"draft": "yes"}


def test_labels_with_mistakes_are_shown_again(operator: Client) -> None:
    failed()
    answer = confirm(operator, address("label"), set="a b=c", remove="")
    assert answer.status_code == 400
    html = answer.content.decode()
    assert "is no label key" in html
    assert "a b=c</textarea>" in html


def test_only_administrators_delete(
    browser: Callable[..., Client], admin: Client, operator: Client
) -> None:
    make_run(failed()[0].workflow, state=RunState.RUNNING)
    html = operator.get(address("delete")).content.decode()
    assert "may not purge and force states" in html
    assert operator.post(address("delete"), {"once": "1" * 32}).status_code == 403
    url = address("delete", everything="1")
    assert "Delete 3 runs?" in admin.get(url).content.decode()
    confirm(admin, url)
    once()
    assert WorkflowRun.objects.get().state == RunState.RUNNING


def test_strangers_and_viewers_change_nothing(viewer: Client) -> None:
    failed()
    job = BulkJob.objects.create(action="retry", newest=9, total=1, role="", face="web")
    for client, code in ((Client(), 302), (viewer, 403)):
        assert client.post(address(), {"once": "1" * 32}).status_code == code
    for client, code in ((Client(), 302), (viewer, 404)):
        assert client.post(reverse("cancel_bulk_job", args=[job.pk])).status_code == code
    assert viewer.get(reverse("cancel_bulk_job", args=[job.pk])).status_code == 405
    html = viewer.get(address()).content.decode()
    assert "The role viewer may not retry runs." in html
    assert BulkJob.objects.get().state == "waiting"


def test_a_job_is_canceled_on_its_page(operator: Client) -> None:
    failed()
    url = confirm(operator, address())["Location"]
    html = operator.get(url).content.decode()
    assert "Cancel the job" in html
    job = BulkJob.objects.get()
    assert operator.get(reverse("cancel_bulk_job", args=[job.pk])).status_code == 405
    html = operator.post(reverse("cancel_bulk_job", args=[job.pk]), follow=True).content.decode()
    assert "Canceled by" in html
    assert "Cancel the job" not in html


def test_somebody_elses_job_is_not_there(
    operator: Client, browser: Callable[..., Client], admin: Client
) -> None:
    failed()
    url = confirm(operator, address())["Location"]
    other = browser("operator")
    assert other.get(url).status_code == 404
    job = BulkJob.objects.get()
    assert other.post(reverse("cancel_bulk_job", args=[job.pk])).status_code == 404
    assert url not in other.get(reverse("bulk_jobs")).content.decode()
    for client in (operator, admin):
        assert client.get(url).status_code == 200
        assert url in client.get(reverse("bulk_jobs")).content.decode()


def test_the_page_of_a_job_polls_until_its_end(operator: Client) -> None:
    failed()
    url = confirm(operator, address())["Location"]
    page = operator.get(url)
    token = page.context["token"]
    assert 'hx-trigger="every 1s"' in page.content.decode()
    poll = {"headers": {"HX-Request": "true"}}
    assert operator.get(f"{url}?v={token}", **poll).status_code == 204
    once()
    part = operator.get(f"{url}?v={token}", **poll).content.decode()
    assert "3 done, 0 left out, 0 to go" in part
    assert "hx-trigger" not in part
    assert "<html" not in part
    listed = operator.get(reverse("bulk_jobs"))
    again = f"{reverse('bulk_jobs')}?v={listed.context['token']}"
    assert operator.get(again, **poll).status_code == 204


def test_the_page_says_when_nothing_works_on_a_job(operator: Client) -> None:
    failed()
    url = confirm(operator, address())["Location"]
    assert "Nothing works on it" in operator.get(url).content.decode()
    Heartbeat.objects.create(name="sync", at=database_now(), detail={})
    assert "Nothing works on it" not in operator.get(url).content.decode()
    Heartbeat.objects.update(at="2020-01-01T00:00Z")
    assert "Nothing works on it" in operator.get(url).content.decode()
    once()
    assert "Nothing works on it" not in operator.get(url).content.decode()


def test_reasons_stand_with_their_numbers(operator: Client) -> None:
    failed(2)
    make_run(state=RunState.COMPLETED)
    make_run(hold=True)
    url = confirm(operator, address(everything="1"))["Location"]
    once()
    html = operator.get(url).content.decode()
    assert "Why runs were left out" in html
    assert "The run is held: start it instead." in html
    assert "2 done, 2 left out, 0 to go" in html


def test_hostile_names_are_only_text(browser: Callable[..., Client]) -> None:
    client = Client()
    client.force_login(make_user("administrator", username="mallory"))
    failed(1, workflow=make_workflow(title=HOSTILE), labels={"team": HOSTILE})
    url = address("label", query=urlencode({"workflow": HOSTILE}))
    answer = confirm(client, url, set=f"team={HOSTILE}")
    BulkJob.objects.update(message=HOSTILE, reasons={HOSTILE: 1})
    for page in (url, answer["Location"], reverse("bulk_jobs"), reverse("runs")):
        assert "<script>alert" not in client.get(page).content.decode()


def test_the_list_ticks_runs_in_one_form_and_keeps_the_rows_own_forms(operator: Client) -> None:
    run = failed(1)[0]
    html = operator.get(reverse("runs")).content.decode()
    assert f'name="keys" value="{run.pk}" form="bulk"' in html
    assert f"Tick run {run.pk}" in html
    form = html[html.index('id="bulk"') : html.index("</form>", html.index('id="bulk"'))]
    assert "<form" not in form.partition(">")[2]
    assert f'action="{reverse("retry_run", args=[run.pk])}"' in html
    # A poll brings the boxes, too, and leaves the bar alone.
    poll = operator.get(f"{reverse('runs')}?v=x", headers={"HX-Request": "true"}).content.decode()
    assert 'form="bulk"' in poll and 'id="bulk"' not in poll


def test_the_list_offers_all_that_fit_with_a_bounded_number(
    operator: Client, viewer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(4)
    html = operator.get(f"{reverse('runs')}?{FAILED}").content.decode()
    assert "All 4 that fit" in html
    assert unescape(html).count(address("retry", query=FAILED)) == 1
    assert address("delete", query=FAILED) not in unescape(html)  # with its reason instead
    everything = operator.get(f"{reverse('runs')}?view=all").content.decode()
    assert address("retry", everything="1") in unescape(everything)
    assert "The filter has mistakes" in operator.get(f"{reverse('runs')}?state=X").content.decode()
    assert "may not retry runs" in viewer.get(reverse("runs")).content.decode()
    monkeypatch.setattr("runs.web.bulkbar.MANY", 3)
    assert "All 3+ that fit" in operator.get(f"{reverse('runs')}?{FAILED}").content.decode()


def test_other_tables_of_runs_have_no_boxes(operator: Client) -> None:
    run = failed(1)[0]
    html = operator.get(reverse("workflow", args=[run.workflow.title])).content.decode()
    assert f"#{run.pk}" in html
    assert "data-tick" not in html
