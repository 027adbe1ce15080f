"""The domain: workflows, their runs, and what is known of them (docs/glossary.md)."""

from runs.models.access import ApiToken, AuditEntry, IdempotencyKey
from runs.models.bulk_job import BulkJob
from runs.models.child import ChildRun
from runs.models.event import RunEvent
from runs.models.figures import Acknowledgement, HourlyRollup, WorkflowPace
from runs.models.label import Label, RunLabel, WorkflowLabel
from runs.models.preference import Preference, SavedView
from runs.models.process import Counter, Heartbeat, Lease, Restore
from runs.models.run import RunAttempt, WorkflowRun
from runs.models.secret import Secret, Variable
from runs.models.task import TaskRun, TaskTry
from runs.models.workflow import DownstreamTask, Task, Workflow

__all__ = [
    "Acknowledgement",
    "ApiToken",
    "AuditEntry",
    "BulkJob",
    "ChildRun",
    "Counter",
    "DownstreamTask",
    "Heartbeat",
    "HourlyRollup",
    "IdempotencyKey",
    "Label",
    "Lease",
    "Preference",
    "Restore",
    "RunAttempt",
    "RunEvent",
    "RunLabel",
    "SavedView",
    "Secret",
    "Task",
    "TaskRun",
    "TaskTry",
    "Variable",
    "Workflow",
    "WorkflowLabel",
    "WorkflowPace",
    "WorkflowRun",
]
