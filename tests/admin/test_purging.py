"""Old objects are deleted from their list, after a page that says how many."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from runs.models import AuditEntry, Workflow, WorkflowRun
from runs.models.access import Role
from runs.states import RunState
from tests.factories import make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db
RUNS = "admin:runs_workflowrun_purge"
WORKFLOWS = "admin:runs_workflow_purge"


@pytest.fixture
def staff(client):
    client.force_login(make_user(Role.ADMINISTRATOR, is_staff=True))
    return client


@pytest.fixture
def old_runs():
    long_ago = timezone.now() - timedelta(days=100)
    runs = [make_run(state=RunState.COMPLETED, ended_at=long_ago) for _ in range(2)]
    make_run(state=RunState.COMPLETED, ended_at=timezone.now())
    make_run()
    return runs


def test_the_lists_offer_it_to_administrators_only(staff, client):
    address = reverse("admin:runs_workflowrun_changelist")
    assert reverse(RUNS) in staff.get(address).content.decode()
    client.force_login(make_user(Role.OPERATOR, is_staff=True))
    assert reverse(RUNS) not in client.get(address).content.decode()
    assert client.get(reverse(RUNS)).status_code == 403
    assert client.post(reverse(RUNS), {"days": 0, "expected": 0}).status_code == 403


def test_it_says_exactly_how_many_before_anything_is_deleted(staff, old_runs):
    page = staff.post(reverse(RUNS), {"days": 90})
    assert "Delete 2 workflow runs" in page.content.decode()
    assert WorkflowRun.objects.count() == 4


def test_confirmed_it_deletes_the_old_and_keeps_the_rest(staff, old_runs):
    answer = staff.post(reverse(RUNS), {"days": 90, "expected": 2})
    assert answer.url == reverse("admin:runs_workflowrun_changelist")
    assert WorkflowRun.objects.count() == 2
    assert not WorkflowRun.objects.filter(pk__in=[run.pk for run in old_runs]).exists()
    assert AuditEntry.objects.get(action="purge").face == AuditEntry.Face.ADMIN


def test_another_count_than_was_confirmed_deletes_nothing(staff, old_runs):
    page = staff.post(reverse(RUNS), {"days": 90, "expected": 1})
    assert page.context["count"] == 2
    assert "It was 1 a moment ago" in page.content.decode()
    assert WorkflowRun.objects.count() == 4


def test_nonsense_is_refused_in_its_field(staff):
    page = staff.post(reverse(RUNS), {"days": "-1"})
    assert "days" in page.context["form"].errors


def test_archived_workflows_go_and_others_stay(staff):
    make_workflow(archived_at=timezone.now() - timedelta(days=40))
    kept = make_workflow()
    staff.post(reverse(WORKFLOWS), {"days": 30, "expected": 1})
    assert list(Workflow.objects.all()) == [kept]
