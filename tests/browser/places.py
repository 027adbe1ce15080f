"""Every page of the hub."""

from django.contrib.auth import get_user_model
from django.urls import reverse

from engines.models import EngineJob
from runs.models import BulkJob, SavedView, Secret, Variable, WorkflowRun
from runs.web.urls import urlpatterns

# They do something, or hand out a file: there is nothing to look at.
WITHOUT_A_PAGE = {
    "artifact",
    "ask_engine",
    "cancel_bulk_job",
    "export_csv",
    "export_json",
    "issue_token",
    "jump",
    "login",
    "logout",
    "pause_workflow",
    "raw_log",
    "redeploy_workflow",
    "restart_run",
    "retry_alike",
    "revoke_token",
    "set_default_view",
    "set_preferences",
    "set_theme",
    "start_held_run",
    "suggestions",
    "switch_engine",
    "withdraw_acknowledgement",
}
TABS = {
    "run": ("graph", "parameters", "events", "results", "raw"),
    "workflow": ("grid", "tasks", "definition", "parameters", "versions"),
}
QUERIES = {"bulk_confirm": "?action=retry&query=state%3DFAILED"}


def addresses(failed: WorkflowRun, running: WorkflowRun) -> list[str]:
    """Each page once, with its tabs. A new page says here what it is about."""
    owner = get_user_model().objects.get(username="ada0")  # who looks
    run, title, engine = (failed.pk,), (failed.workflow.title,), (failed.engine_id,)
    job = BulkJob.objects.create(action="retry", newest=failed.pk, total=3, face="web")
    view = SavedView.objects.create(user=owner, name="Mine", query="state=FAILED")
    secret = Secret.objects.create(name="token")
    variable = Variable.objects.create(name="region", value="eu")
    test = EngineJob.objects.create(engine=failed.engine, kind="local", action="test")
    task = (failed.pk, failed.task_runs.get(name="transform").pk)
    at_work = (running.pk, running.task_runs.get(name="extract").pk)
    about: list[tuple[str, tuple[object, ...]]] = [
        (
            "overview runs new_view bulk_confirm bulk_jobs compare workflows new_workflow engines "
            "new_engine secrets new_secret new_variable account change_password insights audit",
            (),
        ),
        ("acknowledge run retry_run mark_run edit_run logs", run),
        ("cancel_run run", (running.pk,)),
        ("task mark_task", task),
        ("cancel_task task", at_work),
        ("workflow start_run edit_workflow archive_workflow", title),
        ("engine edit_engine delete_engine", engine),
        ("edit_view delete_view", (view.pk,)),
        ("bulk_job", (job.pk,)),
        ("edit_secret delete_secret", (secret.pk,)),
        ("edit_variable delete_variable", (variable.pk,)),
        ("engine_job", (test.pk,)),
    ]
    found = []
    for names, keys in about:
        for name in names.split():
            place = reverse(name, args=keys) + QUERIES.get(name, "")
            found += [place, *(f"{place}?tab={tab}" for tab in TABS.get(name, ()))]
    found.append(f"{reverse('compare')}?a={failed.pk}&b={running.pk}")
    named = {name for names, _ in about for name in names.split()}
    missing = {str(pattern.name) for pattern in urlpatterns} - named - WITHOUT_A_PAGE
    assert not missing, f"Say what these are about: {missing}"
    return found
