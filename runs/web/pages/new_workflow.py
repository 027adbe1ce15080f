"""Posting a workflow: paste or upload, validate with the problems beside their lines, post."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from engines.models import Engine
from engines.registry import formats
from runs import actions
from runs.errors import Denied, Invalid
from runs.models import Workflow
from runs.policy import Action, Actor, require
from runs.web.access import actor, seen, why_not
from runs.web.forms import labels_text, read_labels
from runs.web.pages.workflow import workflow_url
from runs.web.picture import plain_picture

MAX_UPLOAD = 2_000_000  # bytes
NEAR = 6  # lines shown before and after one that is wrong


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedLine:
    """A line of a definition with what is wrong in it."""

    n: int
    text: str
    problems: tuple[Any, ...] = ()
    after_gap: bool = False


@require_http_methods(["GET", "POST"])
def new_workflow(request: HttpRequest) -> HttpResponse:
    """The form; `?from=<title>` starts from the newest version of a workflow."""
    posted = _from(request)
    errors: dict[str, str] = {}
    context: dict[str, Any] = {}
    posting = request.POST.get("do") == "post"
    if request.method == "POST":
        posted, errors = _posted(request)
        if not errors:
            require(actor(request), Action.POST_WORKFLOW)
            try:
                if posting:
                    return _post(request, posted)
                context = _validate(request, posted)
            except Invalid as error:
                errors = {name.partition("[")[0]: text for name, text in error.errors.items()}
                if error.problems:
                    errors.pop("definition", None)
                context = _told(posted["definition"], error.problems, ()) | {"said": str(error)}
    engines = seen(request, Engine.objects.all())
    return render(
        request,
        "web/new_workflow.html",
        {
            "posted": posted,
            "errors": errors,
            "formats": sorted(formats()),
            "engines": list(engines),
            "reason": why_not(request, Action.POST_WORKFLOW),
            "max_upload": MAX_UPLOAD,
            **context,
        },
        # Validating has answered what was asked, whatever the answer.
        status=400 if errors or (context.get("problems") and posting) else 200,
    )


def _from(request: HttpRequest) -> dict[str, Any]:
    title = request.GET.get("from", "").replace("\x00", "")
    found = (
        seen(request, Workflow.objects.filter(title=title, latest=True)).first() if title else None
    )
    if found is None:
        return {"definition": "", "title": "", "format": "", "engine": "", "labels": ""}
    return {
        "definition": found.definition,
        "title": found.title,
        "format": found.format,
        "engine": str(found.engine_id or ""),
        "labels": labels_text({label.key: label.value for label in found.labels.all()}),
    }


def _posted(request: HttpRequest) -> tuple[dict[str, Any], dict[str, str]]:
    names = ("definition", "title", "format", "engine", "labels")
    posted: dict[str, Any] = {name: request.POST.get(name, "") for name in names}
    posted["definition"] = posted["definition"].replace("\r\n", "\n")
    errors: dict[str, str] = {}
    file = request.FILES.get("file")
    if file is not None and file.size:
        if file.size > MAX_UPLOAD:
            errors["file"] = f"At most {MAX_UPLOAD:,} bytes; this file has {file.size:,}."
        else:
            try:
                posted["definition"] = file.read().decode("utf-8").replace("\r\n", "\n")
            except UnicodeDecodeError:
                errors["file"] = "It is not a UTF-8 text."
    if posted["engine"] and not posted["engine"].isdecimal():
        errors["engine"] = "Choose one of the list."
    return posted, errors


def _engine(request: HttpRequest, posted: dict[str, Any]) -> Engine | None:
    if not posted["engine"]:
        return None
    found = seen(request, Engine.objects.all()).filter(pk=int(posted["engine"][:18])).first()
    if found is None:
        raise Invalid({"engine": "There is no such engine any more."})
    return found


def _post(request: HttpRequest, posted: dict[str, Any]) -> HttpResponse:
    workflow, new = actions.post_workflow(
        actor(request),
        definition=posted["definition"],
        form=posted["format"],
        title=posted["title"],
        engine=_engine(request, posted),
        labels=read_labels(posted["labels"]),
    )
    if new:
        messages.success(request, f"{workflow} is posted.")
    else:
        messages.info(request, f"Nothing changed: {workflow} has this content already.")
    return redirect(workflow_url(workflow))


def _validate(request: HttpRequest, posted: dict[str, Any]) -> dict[str, Any]:
    text, found = actions.read_definition(
        posted["definition"], form=posted["format"], engine=_engine(request, posted)
    )
    context = _told(text, found.problems, found.warnings)
    context["said"] = actions.problems_said(found, posted["format"])
    if not found.problems:
        context["found"] = found
        context["picture"] = plain_picture(found.tasks)
        if "post_shell" in found.permissions:
            context["shell_reason"] = _shell_reason(actor(request))
    return context


def _shell_reason(who: Actor) -> str:
    try:
        require(who, Action.POST_SHELL)
    except Denied as error:
        return str(error)
    return ""


def _told(text: str, problems: Any, warnings: Any) -> dict[str, Any]:
    """The lines round each problem, for the text shown below the form."""
    by_line: dict[int, list[Any]] = {}
    for problem in problems:
        by_line.setdefault(problem.line, []).append(problem)
    texts = text.split("\n")
    near = {n for line in by_line for n in range(line - NEAR, line + NEAR + 1)}
    lines = [
        NumberedLine(
            n=n, text=line, problems=tuple(by_line.get(n, ())), after_gap=n - 1 not in near
        )
        for n, line in enumerate(texts, start=1)
        if n in near
    ]
    return {
        "checked": True,
        "problems": list(problems),
        "warnings": list(warnings),
        "lines": lines if problems else [],
        "unplaced": [problem for problem in problems if not 0 < problem.line <= len(texts)],
    }
