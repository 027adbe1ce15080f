"""Every route x method x role x token, from the URLconf; and objects that a caller may not see."""

from datetime import timedelta
from typing import Any

import pytest
from django.db.models import QuerySet
from django.test import Client
from django.urls import get_resolver
from django.utils import timezone

from engines.models import EngineJob
from runs.models import Acknowledgement, SavedView, Workflow
from runs.models.access import Role
from runs.policy import ALLOWED, Action
from tests.factories import (
    make_bulk_job,
    make_engine,
    make_run,
    make_secret,
    make_token,
    make_user,
    make_variable,
    make_workflow,
)

VIEW, AUDIT = Action.VIEW, Action.AUDIT
POST_WORKFLOW, EDIT_WORKFLOW = Action.POST_WORKFLOW, Action.EDIT_WORKFLOW
START, CANCEL, RETRY = Action.START_RUN, Action.CANCEL_RUN, Action.RETRY_RUN
MARK, EDIT = Action.MARK_RUN, Action.EDIT_RUN
SECRETS = Action.MANAGE_SECRETS
ASK, MANAGE, KEEP = Action.ASK_ENGINE, Action.MANAGE_ENGINES, Action.HOUSEKEEPING

# Written down a second time on purpose: a view whose right changes by mistake is found here.
RIGHTS: dict[str, dict[str, Action]] = {
    "api-schema": {"GET": VIEW},
    "metrics": {"GET": VIEW},
    "api-workflows": {"GET": VIEW, "POST": POST_WORKFLOW},
    "api-validate": {"POST": VIEW},
    "api-workflow": {"GET": VIEW, "PATCH": EDIT_WORKFLOW},
    "api-redeploy": {"POST": EDIT_WORKFLOW},
    "api-workflow-tasks": {"GET": VIEW},
    "api-workflow-graph": {"GET": VIEW},
    "api-workflow-schema": {"GET": VIEW},
    "api-workflow-runs": {"GET": VIEW},
    "api-workflow-diff": {"GET": VIEW},
    "api-workflow-grid": {"GET": VIEW},
    "api-runs": {"GET": VIEW, "POST": START},
    "api-run": {"GET": VIEW, "PATCH": EDIT},
    "api-run-start": {"POST": START},
    "api-run-cancel": {"POST": CANCEL},
    "api-run-retry": {"POST": RETRY},
    "api-run-restart": {"POST": RETRY},
    "api-run-rerun": {"POST": START},
    "api-run-mark": {"POST": MARK},
    "api-run-tasks": {"GET": VIEW},
    "api-run-events": {"GET": VIEW},
    "api-run-logs": {"GET": VIEW},
    "api-run-results": {"GET": VIEW},
    "api-run-status": {"GET": VIEW},
    "api-run-compare": {"GET": VIEW},
    "api-run-failure": {"GET": VIEW},
    "api-run-engine-page": {"GET": VIEW},
    "api-bulk-jobs": {"GET": VIEW, "POST": VIEW},
    "api-bulk-job": {"GET": VIEW},
    "api-bulk-job-cancel": {"POST": VIEW},
    "api-task-run": {"GET": VIEW},
    "api-task-cancel": {"POST": CANCEL},
    "api-task-retry": {"POST": RETRY},
    "api-task-mark": {"POST": MARK},
    "api-task-tries": {"GET": VIEW},
    "api-task-history": {"GET": VIEW},
    "api-task-logs": {"GET": VIEW},
    "api-task-artifacts": {"GET": VIEW},
    "api-task-artifact": {"GET": VIEW},
    "api-labels": {"GET": VIEW},
    "api-label-values": {"GET": VIEW},
    "api-engines": {"GET": VIEW, "POST": MANAGE},
    "api-engine-settings-test": {"POST": MANAGE},
    "api-engine": {"GET": VIEW, "PATCH": MANAGE, "DELETE": MANAGE},
    "api-engine-test": {"POST": ASK},
    "api-engine-sync": {"POST": ASK},
    "api-engine-import": {"POST": ASK},
    "api-engine-capabilities": {"GET": VIEW},
    "api-engine-drift": {"GET": VIEW},
    "api-engine-kinds": {"GET": VIEW},
    "api-engine-job": {"GET": VIEW},
    "api-purge": {"POST": KEEP},
    "api-force-state": {"POST": KEEP},
    "api-correct": {"PATCH": KEEP},
    "api-triage": {"GET": VIEW},
    "api-acknowledgements": {"POST": EDIT},
    "api-acknowledgement": {"DELETE": EDIT},
    "api-insights": {"GET": VIEW},
    "api-audit": {"GET": AUDIT},
    "api-events": {"GET": VIEW},
    "api-secrets": {"GET": VIEW, "POST": SECRETS},
    "api-secret": {"GET": VIEW, "PATCH": SECRETS, "DELETE": SECRETS},
    "api-variables": {"GET": VIEW, "POST": SECRETS},
    "api-variable": {"GET": VIEW, "PATCH": SECRETS, "DELETE": SECRETS},
    "api-saved-views": {"GET": VIEW, "POST": VIEW},
    "api-saved-view": {"GET": VIEW, "PATCH": VIEW, "DELETE": VIEW},
    "api-me": {"GET": VIEW, "PATCH": VIEW},
    "api-tokens": {"GET": VIEW, "POST": VIEW},
    "api-token": {"DELETE": VIEW},
    "api-health": {"GET": VIEW},
    "api-ready": {"GET": VIEW},
}
OPEN = {"api-live", "api-unknown", "docs"}
CASES = [(name, method) for name, rights in RIGHTS.items() for method in rights]


def api_views() -> dict[str, Any]:
    """Name -> (view class, path with `{id}` for its id) of every REST view in the URLconf."""
    found: dict[str, Any] = {}
    for entry in get_resolver().url_patterns:
        inner = getattr(entry, "url_patterns", [entry])
        for pattern in inner:
            view = getattr(getattr(pattern, "callback", None), "cls", None)
            if view is not None:
                prefix = str(entry.pattern) if inner != [entry] else ""
                path = prefix + str(pattern.pattern)
                path = path.replace("<id:id>", "{id}").replace("<path:key>", "team")
                path = path.replace("<path:path>", "results/table.csv")
                found[pattern.name] = (view, "/" + path.replace("<slug:kind>", "workflow-runs"))
    return found


VIEWS = api_views()


def call(name: str, method: str, token: str, pk: int = 999_999) -> Any:
    client = Client(headers={"authorization": f"Bearer {token}"})
    path = VIEWS[name][1].format(id=pk)
    body = {} if method == "GET" else {"data": "{}", "content_type": "application/json"}
    return getattr(client, method.lower())(path, **body)


def test_every_view_is_in_the_matrix() -> None:
    assert set(VIEWS) - OPEN == set(RIGHTS)
    for name, rights in RIGHTS.items():
        view = VIEWS[name][0]
        methods = {m.upper() for m in ("get", "post", "put", "patch", "delete") if hasattr(view, m)}
        assert view.needs == rights, name
        assert methods == set(rights), name


@pytest.mark.django_db
@pytest.mark.parametrize("role", [*Role.values, None])
def test_a_role_may_what_its_rights_say(role: str | None) -> None:
    token = make_token(make_user(role), role or Role.ADMINISTRATOR)
    wrong = []
    for name, method in CASES:
        answer = call(name, method, token)
        allowed = role is not None and RIGHTS[name][method] in ALLOWED[Role(role)]
        if (name, method) == ("api-tokens", "POST"):
            allowed = False  # a token issues no tokens: that takes a session
        as_it_should_be = (answer.status_code != 403) == allowed
        if answer.status_code in {401, 500} or not as_it_should_be:
            wrong.append((name, method, answer.status_code, allowed))
    assert wrong == []


@pytest.mark.django_db
def test_garbage_expired_and_revoked_tokens_are_refused() -> None:
    past = timezone.now() - timedelta(seconds=1)
    user = make_user()
    tokens = ["", "x" * 5000, "wh_nonsense", "\u00e9"]
    tokens += [make_token(user, expires_at=past), make_token(user, revoked_at=past)]
    for name, method in CASES:
        for token in tokens:
            assert call(name, method, token).status_code == 401, (name, method, token[:20])


class SeesNothing:
    """A permission factory that hides every object."""

    def allow(self, user: Any, action: str, obj: Any) -> bool:
        return True

    def visible(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.none()


@pytest.mark.django_db
@pytest.mark.parametrize(("name", "method"), [c for c in CASES if "{id}" in VIEWS[c[0]][1]])
def test_what_a_caller_may_not_see_is_not_there(name: str, method: str, settings: Any) -> None:
    engine = make_engine("local")
    run = make_run(make_workflow())
    job = EngineJob.objects.create(engine=engine, kind="local", action="test")
    pks = {"workflows": run.workflow_id, "task-runs": run.task_runs.first().pk}
    pks |= {"engines": engine.pk, "engine-jobs": job.pk}
    pks["secrets"] = make_secret(workflow=run.workflow.title).pk
    pks["variables"] = make_variable(workflow=run.workflow.title).pk
    pks["saved-views"] = SavedView.objects.create(user=make_user(), name="x", shared=True).pk
    kind = {"fingerprint": "f", "workflow": run.workflow.title, "newest": run.pk}
    pks["acknowledgements"] = Acknowledgement.objects.create(**kind).pk
    pks["bulk-jobs"] = make_bulk_job().pk
    pks["tokens"] = make_user().pk + 1000
    pk = next((pks[kind] for kind in pks if f"/{kind}/" in VIEWS[name][1]), run.pk)
    token = make_token()
    seen = call(name, method, token, pk)
    assert seen.status_code != 404 or name in {"api-token", "api-task-artifact"}
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.api.test_authorisation.SeesNothing"
    hidden = call(name, method, token, pk)
    if hidden.status_code == 400:  # an empty body is refused before anything is looked for
        assert hidden.json()["errors"], hidden.content
    else:
        assert hidden.status_code == 404, hidden.content


@pytest.mark.django_db
def test_lists_leave_out_what_a_caller_may_not_see(settings: Any) -> None:
    make_run(make_workflow(labels={"team": "physics"}), engine=make_engine("local"))
    token = make_token()
    title = Workflow.objects.get().title
    make_secret(workflow=title)
    make_variable(workflow=title)
    lists = ["api-workflows", "api-runs", "api-events", "api-labels", "api-label-values"]
    lists += ["api-secrets", "api-variables"]
    for name in lists:
        assert call(name, "GET", token).json()["results"], name
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.api.test_authorisation.SeesNothing"
    for name in [*lists, "api-engines"]:
        assert call(name, "GET", token).json()["results"] == [], name


@pytest.mark.django_db
def test_a_body_does_not_tell_a_hidden_object_from_one_that_is_not_there(settings: Any) -> None:
    workflow = make_workflow()
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.api.test_authorisation.SeesNothing"
    client = Client(headers={"authorization": f"Bearer {make_token()}"})
    answers = [
        client.post("/api/v1/workflow-runs", {"workflow": pk}, "application/json")
        for pk in (workflow.pk, 10**9)
    ]
    assert [answer.status_code for answer in answers] == [400, 400]
    told, unknown = (answer.content.decode() for answer in answers)
    # Each names the number that its caller gave, and else they are the same.
    assert told.replace(f"workflow {workflow.pk},", "workflow N,") == unknown.replace(
        f"workflow {10**9},", "workflow N,"
    )
