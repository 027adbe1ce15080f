"""A bulk job is done with the rights that its asker has, had when asking, and has on each run."""

from typing import Any

import pytest

from runs.models import BulkJob, WorkflowRun
from runs.models.access import Role
from runs.policy import Actor, give_role
from runs.reconciler import bulk
from runs.reconciler.hold import Hold
from tests.factories import make_user
from tests.reconciler.bulk_jobs import ask, done, failed, hold

__all__ = ["hold"]
pytestmark = pytest.mark.django_db


def test_who_lost_the_right_meanwhile_has_nothing_done(hold: Hold) -> None:
    failed(2)
    user = make_user("operator")
    job = ask(actor=Actor(user=user, face="api"))
    give_role(user, Role.VIEWER)
    bulk.do_all(hold)
    assert done(job) == ("failed", 0, 0)
    assert "may not retry runs" in job.message
    assert set(WorkflowRun.objects.values_list("attempt", flat=True)) == {1}


def test_who_was_given_more_rights_meanwhile_uses_no_more_than_when_asking(hold: Hold) -> None:
    failed(1)
    user = make_user("administrator")
    job = ask(actor=Actor(user=user, face="api", cap=Role.OPERATOR))
    assert job.role == "operator"
    BulkJob.objects.update(action="delete", options={})
    bulk.do_all(hold)
    assert done(job) == ("failed", 0, 0)
    assert WorkflowRun.objects.count() == 1


@pytest.mark.parametrize("gone", ["inactive", "deleted"])
def test_for_who_is_gone_nothing_is_done(hold: Hold, gone: str) -> None:
    failed(1)
    user = make_user("operator")
    job = ask(actor=Actor(user=user, face="api"))
    if gone == "deleted":
        user.delete()
    else:
        user.is_active = False
        user.save()
    bulk.do_all(hold)
    assert done(job) == ("failed", 0, 0)
    assert WorkflowRun.objects.get().attempt == 1


class HidesTheFirst:
    """A permission factory: the oldest run is not to be seen, and the newest not to be touched."""

    def allow(self, user: Any, action: str, obj: Any) -> bool:
        newest = WorkflowRun.objects.order_by("-pk").values_list("pk", flat=True).first()
        return not (isinstance(obj, WorkflowRun) and action == "retry_run" and obj.pk == newest)

    def visible(self, user: Any, queryset: Any) -> Any:
        if queryset.model is not WorkflowRun:
            return queryset
        return queryset.exclude(pk=WorkflowRun.objects.order_by("pk").values("pk")[:1])


def test_every_run_is_asked_about_and_what_is_hidden_is_not_counted(
    hold: Hold, settings: Any
) -> None:
    runs = failed(4)
    settings.WORKFLOWHUB_PERMISSION_FACTORY = f"{__name__}.HidesTheFirst"
    job = ask()
    assert job.total == 3
    bulk.do_all(hold)
    assert done(job) == ("done", 2, 1)
    assert "may not retry runs" in next(iter(job.reasons))
    attempts = [WorkflowRun.objects.get(pk=run.pk).attempt for run in runs]
    assert attempts == [1, 2, 2, 1]
