"""What steps do. A handler is a function of (arguments, context) that gives the step's result; an
exception fails the try, Permanent for good. Arguments are rendered already."""

from collections.abc import Callable, Mapping
from typing import Any

from engines.dag.callables import Permanent
from engines.dag.context import StepContext
from engines.dag.handlers import http, plain, python, shell

Handler = Callable[[dict[str, Any], StepContext], Any]

HANDLERS: Mapping[str, Handler] = {
    "python": python.call_python,
    "app": python.call_app,
    "shell": shell.run_program,
    "http": http.send_request,
    "input": plain.give_arguments,
    "output": plain.give_arguments,
    "sleep": plain.sleep,
}


def handler_of(name: str) -> Handler:
    """Raises Permanent for a handler that this worker doesn't have."""
    try:
        return HANDLERS[name]
    except KeyError:
        raise Permanent(f"This worker has no handler {name!r}.") from None
