"""Generated calls of every operation in the schema: no 5xx, no status or shape that it doesn't name.

In-process, on SQLite only (the database makes no difference to shapes), a bounded number of cases.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml
from django.conf import settings
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, given
from hypothesis import settings as limits
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from engines.models import EngineJob
from runs.models import ApiToken, SavedView, TaskTry
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

pytestmark = pytest.mark.skipif(
    settings.DATABASES["default"]["ENGINE"].endswith("postgresql"), reason="on SQLite only"
)
CASES = 12
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
)
SCHEMA = yaml.load(
    (Path(settings.BASE_DIR) / "docs/openapi.yaml").read_text(),
    getattr(yaml, "CSafeLoader", yaml.SafeLoader),
)
loaded = schemathesis.openapi.from_dict(SCHEMA)
loaded.app = get_wsgi_application()
OPERATIONS = {op.ok().definition.raw["operationId"]: op.ok() for op in loaded.get_all_operations()}


@pytest.fixture(autouse=True)
def one_connection() -> Iterator[None]:
    """The server closes connections between requests: here that would end the test's transaction."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def rows(db: None) -> dict[str, int]:
    """One object of each kind: what stands before `{id}` in a path -> its id."""
    engine = make_engine("local")
    workflow = make_workflow(labels={"team": "physics"})
    run = make_run(workflow, labels={"a": "b"}, engine=engine)
    task = run.task_runs.first()
    TaskTry.objects.create(task_run=task, attempt=1, try_number=1, state="RUNNING")
    job = EngineJob.objects.create(engine=engine, kind="local", action="test")
    token, _ = ApiToken.issue(user=make_user("viewer"), role="viewer")
    return {
        "workflows": workflow.pk,
        "workflow-runs": run.pk,
        "task-runs": task.pk,
        "engines": engine.pk,
        "engine-jobs": job.pk,
        "secrets": make_secret().pk,
        "variables": make_variable().pk,
        "saved-views": SavedView.objects.create(user=token.user, name="Broken", shared=True).pk,
        "bulk-jobs": make_bulk_job().pk,
        "tokens": token.pk,
        "{kind}": run.pk,
    }


@pytest.mark.parametrize("name", OPERATIONS)
def test_generated_calls_find_no_5xx_and_no_undocumented_answer(
    name: str, rows: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.api.waiting.MOST_WAITERS", 0)
    operation = OPERATIONS[name]
    token = make_token()
    segments = operation.path.split("/")
    kind = segments[segments.index("{id}") - 1] if "{id}" in segments else ""
    modes = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]
    cases = st.one_of([operation.as_strategy(generation_mode=mode) for mode in modes])

    @limits(
        max_examples=CASES,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, exists=st.sampled_from([True, True, True, False]))
    def check(case: Any, exists: bool) -> None:
        if exists and kind in rows:
            case.path_parameters["id"] = rows[kind]
        response = case.call(headers={"Authorization": f"Bearer {token}"})
        case.validate_response(response, checks=CHECKS)

    check()
