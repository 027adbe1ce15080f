"""The workflows that a new hub has to show: `manage.py up` posts them the first time."""

from pathlib import Path

from django.conf import settings
from django.db import transaction

from runs.actions import post_workflow
from runs.models import Workflow
from runs.policy import Actor

HANDLERS = "examples.handlers"
# File under examples/, its format, the labels that its document doesn't give itself.
EXAMPLES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("genome/workflow.yaml", "workflowhub", {}),
    ("assembly/workflow.json", "bvbrc", {"example": "assembly"}),
    ("health/workflow.json", "orchestrator", {"example": "health"}),
)


def seed_examples() -> list[Workflow]:
    """Posts every example on a hub that has no workflow yet, all of them or none; gives what it
    posted. Afterwards they are the operator's like any other: archived ones stay archived.

    None are posted where WORKFLOWHUB_EXAMPLES is off, or where the functions that they call are not
    among the operator's WORKFLOWHUB_HANDLER_MODULES. Raises runs.errors.Invalid for a broken example.
    """
    if not settings.WORKFLOWHUB_EXAMPLES or HANDLERS not in settings.WORKFLOWHUB_HANDLER_MODULES:
        return []
    with transaction.atomic():
        if Workflow.objects.exists():
            return []
        return [
            post_workflow(Actor(), definition=text, form=form, labels=labels)[0]
            for text, form, labels in _documents()
        ]


def _documents() -> list[tuple[str, str, dict[str, str]]]:
    folder = Path(settings.BASE_DIR) / "examples"
    return [
        ((folder / name).read_text(encoding="utf-8"), form, labels)
        for name, form, labels in EXAMPLES
    ]
