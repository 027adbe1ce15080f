"""Steps of the handler `workflow`: each of their tries is a run of another workflow, on any engine.

No worker has such a try, and it takes no worker's slot. The step holds a request, observers tell it to
the hub for as long as it stands, and engines/dag/answers.py ends the try.
"""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from engines.base import RunRequest
from engines.dag.formats.handlers import MAX_TITLE, WORKFLOW
from engines.dag.held import Held
from engines.dag.models import Step
from engines.dag.outcome import MAX_RESULT_BYTES, TooLarge, to_json
from engines.dag.references import as_text
from engines.dag.sql import Row, change, later, now, stamp
from engines.dag.values import inputs_of, own_values, scope_of
from engines.states import TaskState

_KEY = re.compile(r"([^/]+)/(-?[0-9]{1,9})/[0-9]{1,9}")
LONGEST_NAME = 150  # of a step, as it is in a key, which has 250 characters at most


def asks(held: Held, name: str) -> bool:
    """Whether a step's tries are runs that it asks for."""
    spec = held.plan.definition.steps.get(name)
    return spec is not None and spec.handler == WORKFLOW


def is_held(held: Held, row: Row) -> bool:
    """Whether a worker must stop an open step (a row of `open_steps`) before it ends."""
    return bool(row[3] == TaskState.RUNNING and not asks(held, row[1]))


def ask(held: Held, row: Row) -> None:
    """Begins a try of a step (a row of `look`): from now on it waits for the answer. Raises ValueError
    where its arguments make no request."""
    step_id, name, map_index, state, token, _, try_number = row
    spec = held.plan.definition.steps[name]
    arguments = inputs_of(spec, scope_of(held, name, **own_values(held, [row])[step_id]))
    try_number += state == TaskState.RETRYING
    key = key_of(held.plan.external_id, name, map_index, try_number)
    request = _to_json({"key": key, **_request(arguments)})
    change(
        "UPDATE dag_step SET state = 'RUNNING', token = %s, try_number = %s, worker_id = NULL, "  # noqa: S608
        "worker_name = '', inputs = %s, request = %s, result = NULL, error = '', reason = '', "
        f"message = '', progress = NULL, log = '', stop = '', started_at = {now()}, ended_at = NULL, "
        f"deadline_at = {later(spec.timeout) if spec.timeout else 'NULL'}, changed = {stamp()} "
        "WHERE id = %s",
        [token + 1, try_number, to_json(arguments, kind="inputs"), request, step_id],
    )
    held.turned = True
    shown = name if map_index < 0 else f"{name}[{map_index}]"
    held.note(f"Step '{shown}' asks for a run of '{arguments['workflow']}' | task_id={step_id}")


def request_of(step: Step) -> RunRequest | None:
    """What a step asks the hub for, if it waits for that."""
    if step.state != TaskState.RUNNING or not step.request:
        return None
    return RunRequest(task=(step.name, step.map_index), **step.request)


def key_of(external_id: str, name: str, map_index: int, try_number: int) -> str:
    """`<execution>/<step>/<map index>/<try>`: every try asks for a run of its own."""
    if len(name) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:20]
        name = f"{name[: LONGEST_NAME - 21]}~{digest}"  # no name has a ~
    return f"{external_id}/{name}/{map_index}/{try_number}"


def step_of(external_id: str, key: str) -> Step | None:
    """The step that waits for the answer to a request, if it still does."""
    parts = _KEY.fullmatch(key.removeprefix(f"{external_id}/"))
    if parts is None:
        return None
    name, _, shortened = parts[1].partition("~")
    steps = Step.objects.filter(
        execution__external_id=external_id, map_index=int(parts[2]), state=TaskState.RUNNING
    )
    steps = steps.filter(name__startswith=name) if shortened else steps.filter(name=name)
    return next((step for step in steps if step.request and step.request["key"] == key), None)


def _request(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the RunRequest. Raises ValueError naming the argument: what a reference gave was
    not known when the definition was posted."""
    title, version = arguments.get("workflow"), arguments.get("version")
    parameters, labels = arguments.get("parameters"), arguments.get("labels")
    wait = arguments.get("wait")
    wrong = ""
    if not isinstance(title, str) or not title.strip() or len(title) > MAX_TITLE:
        wrong = f'"workflow" must be the title of a workflow, and it is {title!r:.100}.'
    elif not (version is None or (type(version) is int and 1 <= version < 2**31)):
        wrong = f'"version" must be a whole number from 1 on, and it is {version!r:.100}.'
    elif not isinstance(parameters, Mapping | None):
        wrong = f'"parameters" must be an object, and it is {parameters!r:.100}.'
    elif not isinstance(labels, Mapping | None):
        wrong = f'"labels" must be an object, and it is {labels!r:.100}.'
    elif not isinstance(wait, bool | None):
        wrong = f'"wait" must be true or false, and it is {wait!r:.100}.'
    if wrong:
        raise ValueError(wrong)
    return {
        "workflow": title,
        "version": version,
        "parameters": parameters or {},
        "labels": {key: as_text(value) for key, value in (labels or {}).items()},
        "wait": wait is not False,
    }


def _to_json(request: Mapping[str, Any]) -> str:
    try:
        return to_json(request)
    except TooLarge:
        raise ValueError(
            f"The parameters have more than {MAX_RESULT_BYTES:,} bytes of JSON. Write them to a file "
            "and give its path."
        ) from None
