"""Starting a run: a form made from the workflow's parameters, or their JSON."""

import json
import uuid
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from engines.models import Engine
from engines.registry import formats
from runs import actions
from runs.errors import Conflict, Invalid
from runs.labels import labels_of
from runs.models import Workflow, WorkflowRun
from runs.named import uses_of
from runs.policy import Action
from runs.states import Trigger
from runs.web.access import actor, find, seen, why_not
from runs.web.forms import (
    BadValues,
    labels_text,
    parameter_fields,
    posted_fields,
    properties_of,
    read_json,
    read_labels,
    read_parameters,
    takes_others,
)
from runs.web.pages.workflow import version_of, workflow_url

STORED = ("secrets.", "variables.")


@require_http_methods(["GET", "POST"])
def start(request: HttpRequest, title: str) -> HttpResponse:
    """The form; `?from=<run>` fills in what that run had, `?as=json` shows the values as JSON. The
    form carries the new run's uuid, so that sending it twice starts one run."""
    workflow = version_of(request, title)
    schema = workflow.parameters_schema
    previous = _previous(request)
    raw = request.GET.get("as") == "json" or not properties_of(schema)
    values = previous.parameters if previous else {}
    form: dict[str, Any] = {
        "uuid": str(uuid.uuid4()),
        "labels": labels_text(labels_of(previous) if previous else {}),
        "engine": str(previous.engine_id or "") if previous and previous.pinned else "",
        "note": "",
        "hold": False,
        "json": json.dumps(values, indent=2, ensure_ascii=False) if values else "",
    }
    errors: dict[str, str] = {}
    if request.method == "POST":
        form = {name: request.POST.get(name, "") for name in form} | {
            "hold": "hold" in request.POST
        }
        try:
            run = _start(request, workflow, form, previous, raw=raw)
        except BadValues as error:
            errors = {f"parameters.{name}": text for name, text in error.errors.items()}
        except Invalid as error:
            errors = {name.partition("[")[0]: text for name, text in error.errors.items()}
            stored = [text for name, text in errors.items() if name.startswith(STORED)]
            if stored:
                errors[""] = " ".join(stored)
            errors |= {n: t for n, t in error.errors.items() if n.startswith("parameters")}
        except Conflict as error:
            errors = {"": str(error)}
        else:
            messages.success(request, f"Run {run.pk} is {'held' if form['hold'] else 'started'}.")
            return redirect("run", run.pk)
    told = {
        name.removeprefix("parameters").removeprefix("."): text
        for name, text in errors.items()
        if name.startswith("parameters")
    }
    fields = (
        posted_fields(schema, request.POST, told)
        if request.method == "POST" and not raw
        else parameter_fields(schema, values, told)
    )
    known = {field.name for field in fields}
    return render(
        request,
        "web/start.html",
        {
            "workflow": workflow,
            "previous": previous,
            "raw": raw,
            "only_raw": not properties_of(schema),
            "no_parameters": not properties_of(schema) and not takes_others(schema),
            "fields": fields,
            # What belongs to no control: a parameter that the schema doesn't know, or all of them.
            "loose": {
                name: text
                for name, text in told.items()
                if raw or not any(name == n or name.startswith((f"{n}.", f"{n}[")) for n in known)
            },
            "form": form,
            "errors": errors,
            "engines": [
                engine
                for engine in seen(request, Engine.objects.enabled())
                if engine.kind in formats().get(workflow.format, [])
            ],
            "back": workflow_url(workflow),
            "missing": [one for one in uses_of(workflow) if one.row is None],
            "reason": why_not(request, Action.START_RUN, workflow)
            or ("The workflow is archived." if workflow.archived else ""),
        },
        status=400 if errors else 200,
    )


def _start(
    request: HttpRequest,
    workflow: Workflow,
    form: dict[str, Any],
    previous: WorkflowRun | None,
    *,
    raw: bool,
) -> WorkflowRun:
    schema = workflow.parameters_schema
    values = read_json(form["json"]) if raw else read_parameters(schema, request.POST)
    engine = None
    if form["engine"]:
        key = int(form["engine"][:18]) if form["engine"].isdecimal() else 0
        engine = seen(request, Engine.objects.all()).filter(pk=key).first()
        if engine is None:
            raise Invalid({"engine": "There is no such engine any more."})
    return actions.start_run(
        actor(request),
        workflow,
        parameters=values,
        labels=read_labels(form["labels"]),
        engine=engine,
        hold=form["hold"],
        uuid=_uuid(form["uuid"]),
        note=form["note"],
        trigger=Trigger.RERUN if previous else Trigger.MANUAL,
        previous=previous,
        source=previous.source if previous else None,
    )


def _previous(request: HttpRequest) -> WorkflowRun | None:
    number = request.GET.get("from", "")
    if not number.isdecimal() or len(number) > 17:
        return None
    return find(request, WorkflowRun.objects.select_related("workflow", "engine"), pk=int(number))


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None
