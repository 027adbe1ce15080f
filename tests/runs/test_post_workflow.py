"""Posting, versions, editing and archiving of workflows."""

import threading

import pytest
from django.db import connection

from runs import actions
from runs.errors import Conflict, Denied, Invalid, Stale
from runs.labels import labels_of
from runs.models import AuditEntry, DownstreamTask, Workflow
from runs.policy import Actor
from tests.factories import make_actor, make_engine, make_run, make_workflow

DOCUMENT = """\
title: nightly
labels: {team: physics}
steps:
  - name: extract
    handler: sleep
    with: {seconds: 0}
  - name: load
    handler: sleep
    needs: [extract]
    with: {seconds: 0}
"""


@pytest.mark.django_db
def test_a_post_makes_version_one_with_its_tasks_and_edges():
    workflow, created = actions.post_workflow(make_actor("editor"), definition=DOCUMENT)
    assert created and (workflow.title, workflow.version, workflow.latest) == ("nightly", 1, True)
    assert list(workflow.tasks.values_list("name", flat=True)) == ["extract", "load"]
    edge = DownstreamTask.objects.get(task__workflow=workflow)
    assert (edge.task.name, edge.downstream.name) == ("extract", "load")
    assert labels_of(workflow) == {"team": "physics"}
    assert AuditEntry.objects.get(action="post").object_id == str(workflow.pk)


@pytest.mark.django_db
def test_the_same_content_gives_the_version_that_is_there():
    first, _ = actions.post_workflow(Actor(), definition=DOCUMENT)
    again, created = actions.post_workflow(Actor(), definition=DOCUMENT)
    assert (again, created) == (first, False)


@pytest.mark.django_db
def test_other_content_gives_the_next_version_and_only_that_is_latest():
    actions.post_workflow(Actor(), definition=DOCUMENT)
    second, created = actions.post_workflow(
        Actor(), definition=DOCUMENT.replace("seconds: 0", "seconds: 1")
    )
    assert created and second.version == 2
    latest = Workflow.objects.filter(title="nightly", latest=True)
    assert list(latest.values_list("version", flat=True)) == [2]


@pytest.mark.django_db
def test_a_definition_with_problems_is_refused_with_its_lines_and_leaves_nothing():
    with pytest.raises(Invalid) as caught:
        actions.post_workflow(
            Actor(), definition=DOCUMENT.replace("[extract]", "[nowhere]"), form="workflowhub"
        )
    problem = caught.value.problems[0]
    assert "nowhere" in problem.message and problem.line == 9
    assert not Workflow.objects.exists()


@pytest.mark.django_db
def test_only_those_who_may_post_shell_steps():
    document = {
        "title": "sh",
        "steps": [{"name": "a", "handler": "shell", "with": {"argv": ["true"]}}],
    }
    with pytest.raises(Denied, match="shell"):
        actions.post_workflow(make_actor("editor"), definition=document)
    assert actions.post_workflow(make_actor("administrator"), definition=document)[1]


@pytest.mark.django_db
def test_an_operator_posts_nothing():
    with pytest.raises(Denied):
        actions.post_workflow(make_actor("operator"), definition=DOCUMENT)


@pytest.mark.django_db
@pytest.mark.parametrize("definition", ["", "  \n", "no: steps", "\x00", {"title": 3}, "[1, 2"])
def test_nonsense_is_refused_with_a_sentence(definition):
    with pytest.raises(Invalid) as caught:
        actions.post_workflow(Actor(), definition=definition)
    assert str(caught.value)


@pytest.mark.django_db
def test_archiving_hides_a_version_but_keeps_its_runs_and_posting_again_makes_a_new_one():
    make_engine()
    workflow, _ = actions.post_workflow(Actor(), definition=DOCUMENT)
    run = make_run(workflow)
    actions.edit_workflow(Actor(), workflow, archived=True)
    assert not Workflow.objects.current().exists()
    assert run.workflow == workflow
    again, created = actions.post_workflow(Actor(), definition=DOCUMENT)
    assert created and again.version == 2


@pytest.mark.django_db
def test_labels_are_edited_and_found_by_selector():
    workflow = make_workflow(labels={"team": "physics"})
    other = make_workflow(labels={"team": "biology", "tier": "gold"})
    actions.edit_workflow(Actor(), workflow, labels={"team": "biology"})
    find = Workflow.objects.for_selector
    assert set(find("team=biology")) == {workflow, other}
    assert list(find("team in (biology,x),!tier")) == [workflow]
    assert list(find("tier")) == [other]
    assert list(find("tier!=gold")) == [workflow]


@pytest.mark.django_db
def test_an_edit_of_an_older_version_is_stale():
    workflow = make_workflow()
    actions.edit_workflow(Actor(), workflow, paused=True, expected_version=1)
    with pytest.raises(Stale):
        actions.edit_workflow(Actor(), workflow, paused=False, expected_version=1)


@pytest.mark.django_db
def test_an_engine_that_does_not_take_the_format_is_refused():
    engine = make_engine("remote", config={"url": "http://127.0.0.1:1"})
    with pytest.raises(Invalid, match="format|takes"):
        actions.post_workflow(Actor(), definition=DOCUMENT, form="workflowhub", engine=engine)


@pytest.mark.django_db
def test_redeploying_an_archived_workflow_is_a_conflict():
    workflow = actions.edit_workflow(Actor(), make_workflow(), archived=True)
    with pytest.raises(Conflict):
        actions.redeploy_workflow(Actor(), workflow)


@pytest.mark.django_db(transaction=True)
def test_versions_posted_at_the_same_moment_have_no_gap_and_no_double():
    errors = []

    def post(number):
        try:
            actions.post_workflow(
                Actor(), definition=DOCUMENT.replace("seconds: 0", f"seconds: {number}")
            )
        except Exception as error:  # noqa: BLE001 - the test's own report
            errors.append(error)
        finally:
            connection.close()

    threads = [threading.Thread(target=post, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not errors
    found = Workflow.objects.filter(title="nightly").order_by("version")
    assert list(found.values_list("version", flat=True)) == list(range(1, 9))
    assert Workflow.objects.get(title="nightly", latest=True).version == 8


def test_an_edit_that_changes_nothing_writes_nothing(db):
    workflow = make_workflow(labels={"a": "b"})
    same = actions.edit_workflow(Actor(), workflow, labels={"a": "b"}, paused=False, archived=False)
    assert same.row_version == workflow.row_version
    assert not AuditEntry.objects.filter(action="edit").exists()
