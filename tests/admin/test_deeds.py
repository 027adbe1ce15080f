"""What the admin does, it does by the actions: one test per deed, and the page that asks first."""

from datetime import timedelta

import pytest
from django.urls import reverse

from engines.models import Engine, EngineJob
from runs.models import ApiToken, AuditEntry, RunAttempt, RunEvent, TaskRun, Workflow, WorkflowRun
from runs.models.access import Role
from runs.states import Cause, RetryMode, RunState, TaskState, Wanted
from tests.factories import make_engine, make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db
YAML = """title: greet
steps:
  - name: hello
    handler: sleep
    with: {seconds: 0}
"""


def url(model, page, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.fixture
def staff(client):
    client.user = make_user(Role.ADMINISTRATOR, is_staff=True, username="ada")
    client.force_login(client.user)
    return client


def do(staff, obj, name, **data):
    """Asks, then does it to one object; the answer of the second request."""
    address = url(type(obj), "deed", obj.pk, name)
    asked = staff.get(address)
    assert asked.status_code == 200
    fields = {f"deed-{key}": value for key, value in data.items()}
    answer = staff.post(address, {"confirmed": "yes", **fields})
    obj.refresh_from_db() if type(obj).objects.filter(pk=obj.pk).exists() else None
    return answer


def messages(answer, client):
    page = client.get(answer.url)
    return " ".join(str(message) for message in page.context["messages"])


def audited(action):
    entry = AuditEntry.objects.get(action=action)
    return entry.face == AuditEntry.Face.ADMIN and entry.actor_name == "ada"


# Workflows


def test_a_workflow_is_posted(staff):
    answer = staff.post(url(Workflow, "add"), {"definition": YAML, "labels": "team=physics"})
    workflow = Workflow.objects.get()
    assert answer.url == url(Workflow, "change", workflow.pk)
    assert (workflow.title, workflow.version) == ("greet", 1)
    assert str(workflow.labels.get()) == "team=physics"
    assert audited("post")


def test_posting_the_same_again_says_that_nothing_changed(staff):
    staff.post(url(Workflow, "add"), {"definition": YAML})
    answer = staff.post(url(Workflow, "add"), {"definition": YAML})
    assert "nothing changed" in messages(answer, staff)
    assert Workflow.objects.count() == 1


def test_a_broken_definition_is_shown_with_its_lines(staff):
    broken = YAML.replace("handler: sleep", "handler: slep")
    page = staff.post(url(Workflow, "add"), {"definition": broken})
    assert page.status_code == 200
    [text] = page.context["form"].errors["definition"]
    assert text.startswith("Line 4: ")
    assert not Workflow.objects.exists()


def test_a_label_that_is_none_is_refused_in_its_field(staff):
    page = staff.post(url(Workflow, "add"), {"definition": YAML, "labels": "physics"})
    assert "is not key=value" in page.context["form"].errors["labels"][0]


def test_a_run_is_started_from_its_workflow(staff):
    workflow = make_workflow()
    answer = do(
        staff,
        workflow,
        "start",
        parameters="{}",
        labels="experiment=42",
        note="trial",
    )
    run = WorkflowRun.objects.get()
    assert answer.url == url(WorkflowRun, "change", run.pk)
    assert (run.workflow, run.note, run.wanted) == (workflow, "trial", Wanted.RUN)
    assert run.created_by == staff.user


def test_wrong_parameters_are_shown_in_the_form(staff):
    schema = {"type": "object", "properties": {"k": {"type": "integer"}}}
    workflow = make_workflow(parameters_schema=schema)
    page = do(staff, workflow, "start", parameters='{"k": "many"}')
    assert page.status_code == 200
    assert page.context["form"].errors["parameters"][0].startswith("k: ")
    assert not WorkflowRun.objects.exists()


def test_the_start_form_has_the_defaults_of_the_parameters(staff):
    schema = {"type": "object", "properties": {"k": {"type": "integer", "default": 21}}}
    workflow = make_workflow(parameters_schema=schema)
    page = staff.get(url(Workflow, "deed", workflow.pk, "start"))
    assert page.context["form"]["parameters"].initial == {"k": 21}


def test_a_workflow_is_archived_and_taken_back(staff):
    workflow = make_workflow()
    do(staff, workflow, "archive")
    assert workflow.archived
    do(staff, workflow, "take_back")
    assert not workflow.archived


def test_a_workflow_is_edited(staff):
    workflow = make_workflow()
    do(staff, workflow, "edit", labels="a=b", paused="on", max_active_runs="3", run_timeout="2h")
    assert (workflow.paused, workflow.max_active_runs) == (True, 3)
    assert workflow.run_timeout == timedelta(hours=2)
    do(staff, workflow, "edit", labels="a=b")
    assert (workflow.paused, workflow.max_active_runs, workflow.run_timeout) == (False, None, None)
    assert str(workflow.labels.get()) == "a=b"


def test_a_workflow_is_deployed_again(staff):
    workflow = make_workflow()
    do(staff, workflow, "redeploy")
    assert workflow.next_check_at is not None
    assert audited("redeploy")


# Runs


def test_a_held_run_is_started(staff):
    run = make_run(hold=True)
    do(staff, run, "start")
    assert run.wanted == Wanted.RUN


def test_a_run_is_canceled(staff):
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    do(staff, run, "cancel")
    assert (run.wanted, run.state) == (Wanted.CANCEL, RunState.RUNNING)
    assert audited("cancel")
    event = RunEvent.objects.get(run=run, cause=Cause.CANCEL)
    assert event.actor == "ada"


def test_canceling_an_ended_run_is_refused_with_a_message(staff):
    run = make_run(state=RunState.COMPLETED)
    assert "It has ended already" in messages(do(staff, run, "cancel"), staff)


def test_what_failed_is_retried(staff):
    run = make_run(state=RunState.FAILED, task_states={"load": TaskState.FAILED})
    do(staff, run, "retry")
    assert run.attempt == 2
    assert RunAttempt.objects.get(run=run, number=2).mode == RetryMode.FAILED


def test_everything_is_retried(staff):
    run = make_run(state=RunState.COMPLETED)
    do(staff, run, "retry_all")
    assert RunAttempt.objects.get(run=run, number=2).mode == RetryMode.ALL


def test_a_run_is_restarted_with_other_parameters(staff):
    run = make_run(state=RunState.COMPLETED, parameters={})
    do(staff, run, "restart", parameters='{"k": 1}')
    assert RunAttempt.objects.get(run=run, number=2).mode == RetryMode.RESTART
    assert run.parameters == {"k": 1}


def test_a_run_is_run_again_as_a_new_one(staff):
    run = make_run(state=RunState.COMPLETED)
    do(staff, run, "rerun", parameters="{}")
    assert WorkflowRun.objects.exclude(pk=run.pk).get().previous == run


def test_a_run_is_marked_with_a_note(staff):
    run = make_run(state=RunState.FAILED)
    do(staff, run, "mark", state="COMPLETED", note="the file was right after all")
    assert (run.state, run.marked) == (RunState.COMPLETED, True)
    assert audited("mark")


def test_a_run_is_not_marked_without_a_note(staff):
    run = make_run(state=RunState.FAILED)
    page = do(staff, run, "mark", state="COMPLETED", note="")
    assert "note" in page.context["form"].errors
    assert run.state == RunState.FAILED


def test_labels_and_note_of_a_run_are_edited(staff):
    run = make_run(labels={"old": "1"})
    do(staff, run, "edit", labels="new=2", note="looked at")
    assert run.note == "looked at"
    assert str(run.labels.get()) == "new=2"


# Task runs


def test_one_task_is_canceled(staff):
    run = make_run(
        engine=make_engine(), state=RunState.RUNNING, task_states={"load": TaskState.RUNNING}
    )
    task = TaskRun.objects.get(run=run, name="load")
    do(staff, task, "cancel")
    assert task.wanted == Wanted.CANCEL


def test_one_task_is_retried_with_what_depends_on_it(staff):
    run = make_run(state=RunState.COMPLETED)
    do(staff, TaskRun.objects.get(run=run, name="extract"), "retry", downstream="on")
    assert sorted(RunAttempt.objects.get(run=run, number=2).tasks) == [
        ["extract", -1],
        ["load", -1],
    ]


def test_one_task_is_marked(staff):
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    task = TaskRun.objects.get(run=run, name="load")
    do(staff, task, "mark", state="SKIPPED", note="not needed")
    assert (task.state, task.marked) == (TaskState.SKIPPED, True)


# Engines


def test_an_engine_is_registered_and_tested(staff):
    data = {"name": "second", "kind": "local", "config": "{}", "priority": "5", "enabled": "on"}
    staff.post(url(Engine, "add"), data)
    engine = Engine.objects.get(name="second")
    assert (engine.priority, engine.enabled, engine.accepts_runs) == (5, True, False)
    assert EngineJob.objects.get().action == EngineJob.Action.TEST


def test_an_engine_with_a_bad_name_is_refused_in_its_field(staff):
    data = {"name": "Second Engine", "kind": "local", "config": "{}", "priority": "5"}
    page = staff.post(url(Engine, "add"), data)
    assert "small letters" in page.context["form"].errors["name"][0]


def test_an_engine_is_edited(staff):
    engine = make_engine()
    do(staff, engine, "edit", config="{}", selector="a=b", priority="7")
    assert (engine.selector, engine.priority, engine.enabled) == ("a=b", 7, False)


def test_an_engine_is_asked_to_test_and_to_sync(staff):
    engine = make_engine()
    do(staff, engine, "test")
    do(staff, engine, "sync")
    assert set(EngineJob.objects.values_list("action", flat=True)) == {"test", "sync"}


def test_an_unused_engine_is_deleted_and_one_with_runs_is_not(staff):
    unused, used = make_engine(), make_engine()
    make_run(engine=used)
    assert do(staff, unused, "delete").url == url(Engine, "changelist")
    assert "It has runs" in messages(do(staff, used, "delete"), staff)
    assert list(Engine.objects.all()) == [used]


# Tokens


def test_a_token_is_issued_and_its_plain_text_shown_once(staff):
    make_user(Role.VIEWER, username="grace")
    page = staff.post(url(ApiToken, "add"), {"user": "grace", "name": "script"})
    token = ApiToken.objects.get()
    plain = page.context["plain"]
    assert token.digest == ApiToken.digest_of(plain)
    assert plain in page.content.decode()
    assert "no-store" in page["Cache-Control"]
    assert plain not in staff.get(url(ApiToken, "change", token.pk)).content.decode()


def test_a_token_for_nobody_is_refused(staff):
    page = staff.post(url(ApiToken, "add"), {"user": "nobody"})
    assert "There is no user nobody" in page.context["form"].errors["user"][0]


def test_a_token_is_revoked(staff):
    token, _ = ApiToken.issue(user=staff.user, role=Role.VIEWER)
    do(staff, token, "revoke")
    assert token.revoked_at is not None


# Many at once


def choose(staff, model, name, objects, query="", **data):
    chosen = {"action": name, "_selected_action": [obj.pk for obj in objects]}
    return staff.post(url(model, "changelist") + query, {**chosen, "index": "0", **data})


def confirm(staff, model, name, objects, **data):
    """The second page's button: no `index`, as the page sends it."""
    fields = {f"deed-{key}": value for key, value in data.items()}
    chosen = {"action": name, "_selected_action": [obj.pk for obj in objects]}
    return staff.post(url(model, "changelist"), {**chosen, "confirmed": "yes", **fields})


def test_the_list_asks_first_and_says_exactly_how_many(staff):
    runs = [make_run(engine=make_engine(), state=RunState.RUNNING) for _ in range(3)]
    page = choose(staff, WorkflowRun, "cancel", runs[:2])
    assert page.context["count"] == 2
    assert "Cancel: 2 workflow runs" in page.content.decode()
    assert not WorkflowRun.objects.filter(wanted=Wanted.CANCEL).exists()


def test_what_was_confirmed_is_done_to_those_chosen_and_to_no_others(staff):
    runs = [make_run(engine=make_engine(), state=RunState.RUNNING) for _ in range(3)]
    confirm(staff, WorkflowRun, "cancel", runs[:2])
    canceled = WorkflowRun.objects.filter(wanted=Wanted.CANCEL)
    assert set(canceled) == set(runs[:2])


def test_one_that_is_refused_does_not_hold_up_the_others(staff):
    active = make_run(engine=make_engine(), state=RunState.RUNNING)
    ended = make_run(state=RunState.COMPLETED)
    said = messages(confirm(staff, WorkflowRun, "cancel", [ended, active]), staff)
    assert "done for 1" in said
    assert f"{ended}: It has ended already" in said


def test_a_form_is_asked_for_in_lists_too(staff):
    runs = [make_run(state=RunState.FAILED) for _ in range(2)]
    page = confirm(staff, WorkflowRun, "mark", runs, state="COMPLETED", note="")
    assert "note" in page.context["form"].errors
    confirm(staff, WorkflowRun, "mark", runs, state="COMPLETED", note="fine")
    assert WorkflowRun.objects.filter(state=RunState.COMPLETED, marked=True).count() == 2


def test_all_of_a_filter_are_chosen_but_never_more_than_the_cap(staff, monkeypatch):
    monkeypatch.setattr("runs.admin.deeds.MOST_AT_ONCE", 2)
    runs = [make_run(engine=make_engine(), state=RunState.RUNNING) for _ in range(3)]
    answer = choose(staff, WorkflowRun, "cancel", runs[:1], select_across="1")
    assert "At most 2 at once" in messages(answer, staff)


def test_several_workflows_are_archived(staff):
    workflows = [make_workflow(), make_workflow()]
    confirm(staff, Workflow, "archive", workflows)
    assert Workflow.objects.filter(archived_at__isnull=False).count() == 2


# Who may


@pytest.fixture
def viewer(client):
    client.force_login(make_user(Role.VIEWER, is_staff=True))
    return client


@pytest.mark.parametrize(
    "name", ["start", "cancel", "retry", "retry_all", "restart", "mark", "edit"]
)
def test_a_viewer_can_do_nothing_to_a_run(viewer, name):
    run = make_run()
    assert viewer.get(url(WorkflowRun, "deed", run.pk, name)).status_code == 403
    assert viewer.post(url(WorkflowRun, "deed", run.pk, name)).status_code == 403


def test_a_viewer_s_lists_offer_nothing(viewer):
    make_run()
    page = viewer.get(url(WorkflowRun, "changelist"))
    assert page.context["cl"].model_admin.get_actions(page.wsgi_request) == {}


@pytest.mark.parametrize("model", [Workflow, Engine, ApiToken])
def test_a_viewer_can_add_nothing(viewer, model):
    assert viewer.get(url(model, "add")).status_code == 403
    assert viewer.post(url(model, "add"), {"definition": YAML}).status_code == 403


def test_asking_by_get_does_nothing(staff):
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    staff.get(url(WorkflowRun, "deed", run.pk, "cancel"), {"confirmed": "yes"})
    run.refresh_from_db()
    assert run.wanted == Wanted.RUN


def test_an_unknown_deed_or_object_is_not_found(staff):
    run = make_run()
    assert staff.get(url(WorkflowRun, "deed", run.pk, "explode")).status_code == 404
    assert staff.get(url(WorkflowRun, "deed", 999_999, "cancel")).status_code == 404
