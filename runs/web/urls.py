"""The pages' addresses. The API's are in runs/api/urls.py."""

from urllib.parse import unquote

from django.urls import URLPattern, path, register_converter

from runs.web.access import View, page
from runs.web.pages import (
    account,
    audit,
    bulk,
    compare,
    engine_form,
    engines,
    exports,
    insights,
    jump,
    logs,
    new_workflow,
    overview,
    run,
    run_actions,
    runs,
    secrets,
    start,
    task,
    triage,
    views,
    workflow,
    workflows,
)


class TitleConverter:
    """A workflow's title as one piece of a path: slashes, and a title that is a word of ours, are
    written with percent signs."""

    regex = "[^/]+"
    words = {"new": "%6Eew", ".": "%2E", "..": "%2E%2E"}

    def to_python(self, value: str) -> str:
        title = unquote(value)
        if "\x00" in title:
            raise ValueError("No title holds a NUL character.")  # 404
        return title

    def to_url(self, value: str) -> str:
        quoted = str(value).replace("%", "%25").replace("/", "%2F")
        return self.words.get(quoted, quoted)


register_converter(TitleConverter, "title")


def at(route: str, view: View, name: str) -> URLPattern:
    return path(route, page(view), name=name)


urlpatterns = [
    at("", overview.overview, "overview"),
    at("jump/", overview.jump, "jump"),
    at("jump/suggestions/", jump.suggestions, "suggestions"),
    at("triage/<int:pk>/acknowledge/", triage.acknowledge, "acknowledge"),
    at("triage/<int:pk>/retry/", triage.retry_alike, "retry_alike"),
    at("triage/acknowledgements/<int:pk>/withdraw/", triage.withdraw, "withdraw_acknowledgement"),
    at("log-in/", account.log_in, "login"),
    at("log-out/", account.log_out, "logout"),
    at("runs/", runs.runs, "runs"),
    at("runs/export.csv", exports.as_csv, "export_csv"),
    at("runs/export.json", exports.as_json, "export_json"),
    at("runs/views/new/", views.new_view, "new_view"),
    at("runs/views/default/", views.set_default_view, "set_default_view"),
    at("runs/views/<int:pk>/", views.edit_view, "edit_view"),
    at("runs/views/<int:pk>/delete/", views.delete_view, "delete_view"),
    at("runs/bulk/", bulk.bulk_confirm, "bulk_confirm"),
    at("jobs/", bulk.bulk_jobs, "bulk_jobs"),
    at("jobs/<int:pk>/", bulk.bulk_job, "bulk_job"),
    at("jobs/<int:pk>/cancel/", bulk.cancel_bulk, "cancel_bulk_job"),
    at("runs/<int:pk>/", run.run, "run"),
    at("runs/<int:pk>/cancel/", run_actions.cancel, "cancel_run"),
    at("runs/<int:pk>/retry/", run_actions.retry, "retry_run"),
    at("runs/<int:pk>/restart/", run_actions.restart, "restart_run"),
    at("runs/<int:pk>/start/", run_actions.start, "start_held_run"),
    at("runs/<int:pk>/mark/", run_actions.mark, "mark_run"),
    at("runs/<int:pk>/edit/", run_actions.edit, "edit_run"),
    at("runs/<int:pk>/logs/", logs.logs, "logs"),
    at("runs/<int:pk>/logs/raw/", logs.raw, "raw_log"),
    at("runs/<int:pk>/tasks/<int:task_pk>/", task.task, "task"),
    at("runs/<int:pk>/tasks/<int:task_pk>/files/<path:path>", task.download, "artifact"),
    at("runs/<int:pk>/tasks/<int:task_pk>/cancel/", task.cancel_task, "cancel_task"),
    at("runs/<int:pk>/tasks/<int:task_pk>/mark/", task.mark_task, "mark_task"),
    at("compare/", compare.compare, "compare"),
    at("workflows/", workflows.workflows, "workflows"),
    at("workflows/new/", new_workflow.new_workflow, "new_workflow"),
    at("workflows/<title:title>/", workflow.workflow, "workflow"),
    at("workflows/<title:title>/run/", start.start, "start_run"),
    at("workflows/<title:title>/edit/", workflow.edit_workflow, "edit_workflow"),
    at("workflows/<title:title>/archive/", workflow.archive, "archive_workflow"),
    at("workflows/<title:title>/pause/", workflow.pause, "pause_workflow"),
    at("workflows/<title:title>/redeploy/", workflow.redeploy, "redeploy_workflow"),
    at("engines/", engines.engines, "engines"),
    at("engines/new/", engine_form.new_engine, "new_engine"),
    at("engines/jobs/<int:pk>/", engines.engine_job, "engine_job"),
    at("engines/<int:pk>/", engines.engine, "engine"),
    at("engines/<int:pk>/edit/", engine_form.edit_engine, "edit_engine"),
    at("engines/<int:pk>/ask/", engines.ask_engine, "ask_engine"),
    at("engines/<int:pk>/switch/", engines.switch_engine, "switch_engine"),
    at("engines/<int:pk>/delete/", engines.delete_engine, "delete_engine"),
    at("insights/", insights.insights, "insights"),
    at("audit/", audit.audit, "audit"),
    at("secrets/", secrets.secrets, "secrets"),
    at("secrets/new/", secrets.new_secret, "new_secret"),
    at("secrets/<int:pk>/", secrets.edit_secret, "edit_secret"),
    at("secrets/<int:pk>/delete/", secrets.delete_secret, "delete_secret"),
    at("variables/new/", secrets.new_variable, "new_variable"),
    at("variables/<int:pk>/", secrets.edit_variable, "edit_variable"),
    at("variables/<int:pk>/delete/", secrets.delete_variable, "delete_variable"),
    at("settings/", account.account, "account"),
    at("settings/password/", account.change_password, "change_password"),
    at("settings/preferences/", account.set_preferences, "set_preferences"),
    at("settings/theme/", account.set_theme, "set_theme"),
    at("settings/tokens/", account.issue_token, "issue_token"),
    at("settings/tokens/<int:pk>/revoke/", account.revoke_token, "revoke_token"),
]
