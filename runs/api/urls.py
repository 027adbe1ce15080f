"""/api/v1/: one line a resource."""

from django.urls import URLPattern, path, re_path, register_converter
from django.urls.converters import IntConverter

from runs.api import openapi  # noqa: F401 - tells drf-spectacular how callers log in
from runs.api.resources import (
    artifacts,
    bulk_jobs,
    comparison,
    engines,
    events,
    grid,
    health,
    housekeeping,
    insights,
    labels,
    logs,
    run_actions,
    run_details,
    runs,
    secrets,
    task_runs,
    tokens,
    triage,
    views,
    workflows,
)
from runs.api.resources.unknown import Unknown


class IdConverter(IntConverter):
    """What a database can have for an id; anything else is not found."""

    regex = "[1-9][0-9]{0,17}"


register_converter(IdConverter, "id")

urlpatterns: list[URLPattern] = [
    path("workflows", workflows.Workflows.as_view(), name="api-workflows"),
    path("workflows/validate", workflows.Validate.as_view(), name="api-validate"),
    path("workflows/<id:id>", workflows.OneWorkflow.as_view(), name="api-workflow"),
    path("workflows/<id:id>/redeploy", workflows.Redeploy.as_view(), name="api-redeploy"),
    path("workflows/<id:id>/tasks", workflows.Tasks.as_view(), name="api-workflow-tasks"),
    path("workflows/<id:id>/graph", workflows.Graph.as_view(), name="api-workflow-graph"),
    path("workflows/<id:id>/schema", workflows.Schema.as_view(), name="api-workflow-schema"),
    path("workflows/<id:id>/runs", workflows.Runs.as_view(), name="api-workflow-runs"),
    path("workflows/<id:id>/grid", grid.WorkflowGrid.as_view(), name="api-workflow-grid"),
    path("workflows/<id:id>/diff", workflows.Diff.as_view(), name="api-workflow-diff"),
    path("workflow-runs", runs.Runs.as_view(), name="api-runs"),
    path("workflow-runs/compare", comparison.Compare.as_view(), name="api-run-compare"),
    path("workflow-runs/<id:id>", runs.OneRun.as_view(), name="api-run"),
    path("workflow-runs/<id:id>/start", run_actions.Start.as_view(), name="api-run-start"),
    path("workflow-runs/<id:id>/cancel", run_actions.Cancel.as_view(), name="api-run-cancel"),
    path("workflow-runs/<id:id>/retry", run_actions.Retry.as_view(), name="api-run-retry"),
    path("workflow-runs/<id:id>/restart", run_actions.Restart.as_view(), name="api-run-restart"),
    path("workflow-runs/<id:id>/rerun", run_actions.Rerun.as_view(), name="api-run-rerun"),
    path("workflow-runs/<id:id>/mark", run_actions.Mark.as_view(), name="api-run-mark"),
    path("workflow-runs/<id:id>/task-runs", run_details.TaskRuns.as_view(), name="api-run-tasks"),
    path("workflow-runs/<id:id>/events", run_details.Events.as_view(), name="api-run-events"),
    path("workflow-runs/<id:id>/logs", logs.RunLogs.as_view(), name="api-run-logs"),
    path("workflow-runs/<id:id>/results", run_details.Results.as_view(), name="api-run-results"),
    path("workflow-runs/<id:id>/status", run_details.Status.as_view(), name="api-run-status"),
    path("workflow-runs/<id:id>/failure", comparison.Failure.as_view(), name="api-run-failure"),
    path(
        "workflow-runs/<id:id>/engine-page",
        run_details.EnginePage.as_view(),
        name="api-run-engine-page",
    ),
    path("bulk-jobs", bulk_jobs.BulkJobs.as_view(), name="api-bulk-jobs"),
    path("bulk-jobs/<id:id>", bulk_jobs.OneBulkJob.as_view(), name="api-bulk-job"),
    path("bulk-jobs/<id:id>/cancel", bulk_jobs.Cancel.as_view(), name="api-bulk-job-cancel"),
    path("task-runs/<id:id>", task_runs.OneTaskRun.as_view(), name="api-task-run"),
    path("task-runs/<id:id>/cancel", task_runs.Cancel.as_view(), name="api-task-cancel"),
    path("task-runs/<id:id>/retry", task_runs.Retry.as_view(), name="api-task-retry"),
    path("task-runs/<id:id>/mark", task_runs.Mark.as_view(), name="api-task-mark"),
    path("task-runs/<id:id>/tries", task_runs.Tries.as_view(), name="api-task-tries"),
    path("task-runs/<id:id>/history", grid.History.as_view(), name="api-task-history"),
    path("task-runs/<id:id>/logs", logs.TaskLogs.as_view(), name="api-task-logs"),
    path(
        "task-runs/<id:id>/artifacts",
        artifacts.Artifacts.as_view(),
        name="api-task-artifacts",
    ),
    path(
        "task-runs/<id:id>/artifacts/<path:path>",
        artifacts.OneArtifact.as_view(),
        name="api-task-artifact",
    ),
    path("labels", labels.Keys.as_view(), name="api-labels"),
    path("labels/<path:key>", labels.Values.as_view(), name="api-label-values"),
    path("engines", engines.Engines.as_view(), name="api-engines"),
    path("engines/test", engines.TestSettings.as_view(), name="api-engine-settings-test"),
    path("engines/<id:id>", engines.OneEngine.as_view(), name="api-engine"),
    path("engines/<id:id>/test", engines.Test.as_view(), name="api-engine-test"),
    path("engines/<id:id>/sync", engines.Sync.as_view(), name="api-engine-sync"),
    path("engines/<id:id>/import", engines.Import.as_view(), name="api-engine-import"),
    path(
        "engines/<id:id>/capabilities",
        engines.Capabilities.as_view(),
        name="api-engine-capabilities",
    ),
    path("engines/<id:id>/drift", engines.Drift.as_view(), name="api-engine-drift"),
    path("engine-kinds", engines.Kinds.as_view(), name="api-engine-kinds"),
    path("engine-jobs/<id:id>", engines.OneJob.as_view(), name="api-engine-job"),
    path("housekeeping/force-state", housekeeping.ForceState.as_view(), name="api-force-state"),
    path("housekeeping/purge", housekeeping.Purge.as_view(), name="api-purge"),
    path("housekeeping/<slug:kind>/<id:id>", housekeeping.Correct.as_view(), name="api-correct"),
    path("triage", triage.Triage.as_view(), name="api-triage"),
    path(
        "triage/acknowledgements",
        triage.Acknowledgements.as_view(),
        name="api-acknowledgements",
    ),
    path(
        "triage/acknowledgements/<id:id>",
        triage.OneAcknowledgement.as_view(),
        name="api-acknowledgement",
    ),
    path("insights", insights.Insights.as_view(), name="api-insights"),
    path("audit", events.Audit.as_view(), name="api-audit"),
    path("events", events.Events.as_view(), name="api-events"),
    path("secrets", secrets.Secrets.as_view(), name="api-secrets"),
    path("secrets/<id:id>", secrets.OneSecret.as_view(), name="api-secret"),
    path("variables", secrets.Variables.as_view(), name="api-variables"),
    path("variables/<id:id>", secrets.OneVariable.as_view(), name="api-variable"),
    path("saved-views", views.SavedViews.as_view(), name="api-saved-views"),
    path("saved-views/<id:id>", views.OneSavedView.as_view(), name="api-saved-view"),
    path("me", views.Me.as_view(), name="api-me"),
    path("tokens", tokens.Tokens.as_view(), name="api-tokens"),
    path("tokens/<id:id>", tokens.OneToken.as_view(), name="api-token"),
    path("health", health.Health.as_view(), name="api-health"),
    path("health/live", health.Live.as_view(), name="api-live"),
    path("health/ready", health.Ready.as_view(), name="api-ready"),
    # What is not here is answered in the API's own shape.
    re_path(r"^.*$", Unknown.as_view(), name="api-unknown"),
]
