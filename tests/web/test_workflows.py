"""The list of workflows and the page of one."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from runs.models import Workflow
from runs.states import WorkflowState
from runs.web.pages.workflow import TABS
from tests.factories import make_engine, make_run, make_workflow

URL = reverse("workflows")


def titles(client: Client, query: str = "") -> list[str]:
    response = client.get(f"{URL}?{query}")
    assert response.status_code == 200
    return [workflow.title for workflow, _, _ in response.context["rows"]]


def test_only_the_newest_version_in_use_is_listed(admin: Client) -> None:
    make_workflow(title="etl", version=1, latest=False)
    make_workflow(title="etl", version=2)
    gone = make_workflow(title="gone")
    admin.post(reverse("archive_workflow", args=["gone"]), {"archived": "1"})
    assert titles(admin) == ["etl"]
    assert titles(admin, "archived=1") == [gone.title]


def test_filters_by_title_and_labels(admin: Client) -> None:
    make_workflow(title="alpha", labels={"team": "lab"})
    make_workflow(title="beta")
    assert titles(admin, "q=ALP") == ["alpha"]
    assert titles(admin, "labels=team%3Dlab") == ["alpha"]
    assert "Expected a comma" in admin.get(f"{URL}?labels=a%3D(").content.decode()


def test_the_last_runs_of_all_versions_show(admin: Client) -> None:
    engine = make_engine()
    old = make_workflow(title="etl", version=1, latest=False)
    new = make_workflow(title="etl", version=2)
    runs = [make_run(old if n < 10 else new, engine=engine, state="FAILED") for n in range(20)]
    ((_, strip, _),) = admin.get(URL).context["rows"]
    assert [run.pk for run in strip] == [run.pk for run in runs[-15:]]


def test_more_rows_take_no_more_queries(admin: Client) -> None:
    engine = make_engine()

    def asked() -> int:
        with CaptureQueriesContext(connection) as captured:
            assert admin.get(URL).status_code == 200
        return len(captured)

    for _ in range(5):
        make_run(make_workflow(labels={"a": "b"}), engine=engine)
    few = asked()
    for _ in range(40):
        make_run(make_workflow(labels={"a": "b"}), engine=engine)
    assert asked() == few <= 8


def test_an_empty_list_says_what_to_do(admin: Client, viewer: Client) -> None:
    assert "Post the first one" in admin.get(URL).content.decode()
    assert "The role viewer may not post workflows." in viewer.get(URL).content.decode()


@pytest.mark.parametrize("tab", [*TABS, "nonsense"])
def test_every_part_has_an_address(admin: Client, tab: str) -> None:
    workflow = make_workflow(
        title="etl",
        parameters_schema={
            "required": ["name"],
            "properties": {"name": {"type": "string"}, "depth": {"type": "integer", "default": 3}},
        },
        warnings=[{"line": 3, "path": "", "message": "An output that nobody makes."}],
    )
    make_run(workflow, parameters={"name": "x"})
    response = admin.get(f"{reverse('workflow', args=['etl'])}?tab={tab}")
    assert response.status_code == 200
    html = response.content.decode()
    assert "Line 3: An output that nobody makes." in html
    said = {"tasks": "extract", "parameters": "depth", "versions": "newest", "definition": "sleep"}
    assert said.get(tab, "by") in html


def test_an_older_version_has_its_page_and_says_so(admin: Client) -> None:
    make_workflow(title="etl", version=1, latest=False)
    make_workflow(title="etl", version=2)
    url = reverse("workflow", args=["etl"])
    assert "There is a newer version" in admin.get(f"{url}?version=1").content.decode()
    assert admin.get(f"{url}?version=9").status_code == 404
    assert admin.get(f"{url}?version=x").status_code == 404


def test_a_failed_deployment_is_told_and_cannot_be_run(admin: Client) -> None:
    make_workflow(title="etl", state=WorkflowState.FAILED, state_message="No such operator.")
    html = admin.get(reverse("workflow", args=["etl"])).content.decode()
    assert "It could not be deployed: No such operator." in html
    assert f'href="{reverse("start_run", args=["etl"])}"' not in html


def test_archive_asks_first_and_is_taken_back(admin: Client) -> None:
    make_workflow(title="etl")
    url = reverse("archive_workflow", args=["etl"])
    assert "Archive etl v1?" in admin.get(url).content.decode()
    for _ in range(2):
        admin.post(url, {"archived": "1"})
    assert Workflow.objects.get(title="etl").archived
    assert "Take etl v1 back?" in admin.get(url).content.decode()
    admin.post(url, {"archived": "0"})
    assert not Workflow.objects.get(title="etl").archived


def test_labels_pause_and_limit_are_edited(admin: Client) -> None:
    workflow = make_workflow(title="etl")
    url = reverse("edit_workflow", args=["etl"])
    for bad in (
        {"max_active_runs": "many"},
        {"labels": "=x"},
        {"run_timeout": "soon"},
        {"run_timeout": "0"},
        {"run_timeout": "99999d"},
    ):
        assert admin.post(url, bad).status_code == 400
    given = {"labels": "team=lab", "paused": "on", "max_active_runs": "3", "run_timeout": "1h30m"}
    admin.post(url, {**given, "version": 1})
    workflow.refresh_from_db()
    assert (workflow.paused, workflow.max_active_runs) == (True, 3)
    assert workflow.run_timeout == timedelta(hours=1, minutes=30)
    assert 'value="1h30m"' in admin.get(url).content.decode()
    assert "1 h 30 min" in admin.get(reverse("workflow", args=["etl"])).content.decode()
    admin.post(url, {"version": 2})
    workflow.refresh_from_db()
    assert (workflow.paused, workflow.max_active_runs, workflow.run_timeout) == (False, None, None)
    admin.post(url, {"labels": "team=lab", "version": 3})
    assert [str(label) for label in workflow.labels.all()] == ["team=lab"]


def test_a_workflow_is_paused_and_goes_on_by_one_click(admin: Client) -> None:
    workflow = make_workflow(title="etl")
    page, url = reverse("workflow", args=["etl"]), reverse("pause_workflow", args=["etl"])
    assert 'name="paused" value="1"' in admin.get(page).content.decode()
    for _ in range(2):
        told = admin.post(url, {"paused": "1"}, follow=True).content.decode()
        assert "etl is paused" in told
    workflow.refresh_from_db()
    assert (workflow.paused, workflow.row_version) == (True, 2)
    assert 'name="paused" value="0"' in admin.get(page).content.decode()
    assert "Pause all versions" not in admin.get(page).content.decode()
    make_workflow(title="etl", version=2, paused=True, latest=False)
    admin.post(url, {"paused": "0"})
    assert not Workflow.objects.filter(paused=True).exists()
    assert "Pause all versions" in admin.get(page).content.decode()
    workflow.refresh_from_db()
    assert not workflow.paused


def test_two_who_edit_at_once_are_told(admin: Client) -> None:
    make_workflow(title="etl", row_version=5)
    response = admin.post(reverse("edit_workflow", args=["etl"]), {"labels": "a=b", "version": "4"})
    assert response.status_code == 400
    assert "Somebody changed this workflow meanwhile" in response.content.decode()
    assert not Workflow.objects.get(title="etl").labels.exists()


def test_deploy_again_asks_the_reconciler(admin: Client) -> None:
    workflow = make_workflow(title="etl", engine=make_engine(), state=WorkflowState.FAILED)
    admin.post(reverse("redeploy_workflow", args=["etl"]))
    workflow.refresh_from_db()
    assert workflow.state == WorkflowState.DEPLOYING
