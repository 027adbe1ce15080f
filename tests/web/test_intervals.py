"""How often live parts ask: each second while something that they show goes on."""

import pytest
from django.test import Client
from django.urls import reverse

from engines.models import EngineJob
from runs.states import RunState
from tests.factories import make_bulk_job, make_engine, make_run, make_workflow


def interval(client: Client, url: str) -> str:
    html = client.get(url).content.decode()
    return html.partition('hx-trigger="every ')[2].partition('"')[0]


@pytest.mark.parametrize(
    ("name", "at_rest"),
    [
        ("overview", "5s"),
        ("runs", "5s"),
        ("engines", "30s"),
        ("engine", "30s"),
        ("workflow", "30s"),
    ],
)
def test_a_page_asks_each_second_while_a_run_that_it_shows_is_active(
    admin: Client, name: str, at_rest: str
) -> None:
    engine = make_engine()
    workflow = make_workflow({"a": []}, title="etl")
    keys = {"engine": [engine.pk], "workflow": ["etl"]}
    url = reverse(name, args=keys.get(name, []))
    make_run(workflow, engine=engine, state=RunState.COMPLETED)
    assert interval(admin, url) == at_rest
    make_run(workflow, engine=engine, state=RunState.RUNNING)
    assert interval(admin, url) == "1s"


def test_an_engines_page_asks_each_second_until_its_job_is_done(admin: Client) -> None:
    engine = make_engine()
    job = EngineJob.objects.create(engine=engine, kind="local", action="test")
    url = reverse("engine", args=[engine.pk])
    assert interval(admin, url) == "1s"
    EngineJob.objects.filter(pk=job.pk).update(state="done")
    assert interval(admin, url) == "30s"


def test_the_list_of_jobs_asks_each_second_while_one_goes_on(admin: Client) -> None:
    url = reverse("bulk_jobs")
    assert interval(admin, url) == "30s"
    make_bulk_job()
    assert interval(admin, url) == "1s"
