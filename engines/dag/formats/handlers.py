"""The handlers of the built-in engine as a definition sees them: which arguments each takes. What a
handler does is the worker's matter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.dag.formats.report import Section, kind
from engines.dag.formats.secrecy import check_secrets
from engines.dag.references import TemplateError, whole_reference

WORKFLOW = "workflow"  # no worker runs it: the hub starts a run and answers
MAX_TITLE = 200
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument. `types`: its JSON types, none for any. `items`: the types of a list's items or
    an object's values. `fixed`: may hold no references, so that it can be checked when posted."""

    types: tuple[str, ...] = ()
    required: bool = False
    items: tuple[str, ...] = ()
    fixed: bool = False
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handler:
    """`open`: takes any further arguments."""

    help: str
    arguments: Mapping[str, Argument]
    open: bool = False


SCALARS = ("string", "number", "boolean")

HANDLERS: dict[str, Handler] = {
    "python": Handler(
        help="Calls a registered Python function with the other arguments.",
        arguments={
            "callable": Argument(
                types=("string",), required=True, fixed=True, help="The registered name."
            )
        },
        open=True,
    ),
    "shell": Handler(
        help="Runs a program. No shell reads the arguments; the result is made of its output.",
        arguments={
            "argv": Argument(
                types=("array",), required=True, items=SCALARS, help="Program and arguments."
            ),
            "env": Argument(types=("object",), items=SCALARS, help="Environment variables."),
            "cwd": Argument(types=("string",), help="A folder beneath the step's own."),
        },
    ),
    "http": Handler(
        help="Sends an HTTP request; the result is the response.",
        arguments={
            "url": Argument(types=("string",), required=True, help="An http or https URL."),
            "method": Argument(types=("string",), help="GET when left out."),
            "headers": Argument(types=("object",), items=SCALARS, help="Request headers."),
            "body": Argument(help="A text, or anything else, which is sent as JSON."),
            "expect": Argument(
                types=("integer", "array"), items=("integer",), help="Status codes that are right."
            ),
        },
    ),
    "input": Handler(
        help="Gives its arguments as its result: a named place for what a workflow starts from.",
        arguments={},
        open=True,
    ),
    "output": Handler(
        help="Gives its arguments as its result: a named place for what a workflow ends with.",
        arguments={},
        open=True,
    ),
    "sleep": Handler(
        help="Waits.",
        arguments={"seconds": Argument(types=("number",), required=True, help="How long.")},
    ),
    WORKFLOW: Handler(
        help="Starts a run of another workflow, on any engine, and waits for its end.",
        arguments={
            "workflow": Argument(types=("string",), required=True, help="The workflow's title."),
            "version": Argument(types=("integer",), help="The newest when left out."),
            "parameters": Argument(types=("object",), help="The run's parameters."),
            "labels": Argument(types=("object",), items=SCALARS, help="The run's labels."),
            "wait": Argument(
                types=("boolean",), help="false: done as soon as the run has been started."
            ),
        },
    ),
}
"""Handler name -> what it takes. An adapter that adds a handler adds its entry here."""

# The right to post any definition is not the right to run any program.
PERMISSIONS = {"shell": "post_shell"}

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "integer": (int,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}
_NAMES = {
    "string": "a text",
    "number": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}


def check_arguments(handler: str, arguments: Section) -> None:
    """Notes what can be seen to be wrong with a step's arguments. A value that is one reference is
    taken for any type: only the run knows it."""
    for name, argument in HANDLERS[handler].arguments.items():
        value = arguments.value.get(name)
        if value is None:
            if argument.required:
                arguments.report.problem(
                    arguments.path,
                    f'the handler {handler} needs "{name}" under "{arguments.path[-1]}".',
                )
        elif argument.fixed and isinstance(value, str) and "${" in value:
            arguments.wrong(name, "can't hold a reference: it must be known beforehand.")
        elif not _fits(value, argument.types):
            wanted = " or ".join(_NAMES[name] for name in argument.types)
            arguments.wrong(name, f"must be {wanted}, not {kind(value)}.")
        else:
            _check_items(arguments, name, argument, value)
    if handler in _CHECKS:
        _CHECKS[handler](arguments)
    check_secrets(handler, arguments)


def _check_items(arguments: Section, name: str, argument: Argument, value: Any) -> None:
    if not argument.items or not isinstance(value, (list, dict)):
        return
    parts = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in parts:
        if not _fits(item, argument.items):
            wanted = " or ".join(_NAMES[name] for name in argument.items)
            arguments.report.problem(
                (*arguments.path, name, key), f'"{name}" holds {kind(item)}; each must be {wanted}.'
            )


def _fits(value: Any, types: tuple[str, ...]) -> bool:
    if not types or _is_reference(value):
        return True
    if isinstance(value, bool):
        return "boolean" in types
    return any(isinstance(value, _TYPES[name]) for name in types)


def _is_reference(value: Any) -> bool:
    try:
        return whole_reference(value) is not None
    except TemplateError:
        return False  # noted where references are checked


def _check_shell(arguments: Section) -> None:
    argv = arguments.value.get("argv")
    if isinstance(argv, list) and not argv:
        arguments.wrong("argv", "must name the program to run.")
    cwd = arguments.value.get("cwd")
    if isinstance(cwd, str) and (cwd.startswith("/") or ".." in cwd.split("/")):
        arguments.wrong(
            "cwd", "must lie beneath the step's own folder: no / before it, no .. in it."
        )


def _check_http(arguments: Section) -> None:
    url, method = arguments.value.get("url"), arguments.value.get("method")
    if isinstance(url, str) and not url.startswith(("http://", "https://", "${")):
        arguments.wrong("url", "must begin with http:// or https://.")
    if isinstance(method, str) and method not in METHODS and not _is_reference(method):
        arguments.wrong("method", f"must be one of {', '.join(METHODS)}.")
    expect = arguments.value.get("expect")
    codes = expect if isinstance(expect, list) else [expect]
    if any(isinstance(code, int) and not 100 <= code <= 599 for code in codes):
        arguments.wrong("expect", "must hold HTTP status codes, 100 to 599.")


def _check_sleep(arguments: Section) -> None:
    seconds = arguments.value.get("seconds")
    if isinstance(seconds, (int, float)) and not 0 <= seconds <= 7 * 86400:
        arguments.wrong("seconds", "must be between 0 and 604800 (a week).")


def _check_workflow(arguments: Section) -> None:
    title, version = arguments.value.get("workflow"), arguments.value.get("version")
    if isinstance(title, str) and not title.strip():
        arguments.wrong("workflow", "must name the workflow to run.")
    elif isinstance(title, str) and len(title) > MAX_TITLE and "${" not in title:
        arguments.wrong(
            "workflow", f"has {len(title)} characters; a title has {MAX_TITLE} at most."
        )
    if isinstance(version, int) and not 1 <= version < 2**31:
        arguments.wrong("version", "must be a version's number: 1 or more.")


_CHECKS = {
    "shell": _check_shell,
    "http": _check_http,
    "sleep": _check_sleep,
    WORKFLOW: _check_workflow,
}
