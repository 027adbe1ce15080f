"""`python` and `app`: functions that the operator's own modules register."""

import inspect
from typing import Any

from engines.dag.callables import Permanent, UnknownCallable, call, find
from engines.dag.context import StepContext


def call_python(arguments: dict[str, Any], context: StepContext) -> Any:
    """Calls the function named `callable` with the other arguments."""
    name = arguments.get("callable")
    try:
        registered = find(str(name))
    except UnknownCallable as error:
        raise Permanent(str(error)) from None
    others = {key: value for key, value in arguments.items() if key != "callable"}
    return call(registered, context, others)


def call_app(arguments: dict[str, Any], context: StepContext) -> dict[str, Any]:
    """Calls the function registered under the app's name. One with a parameter `params` gets them
    as one object, another gets each by its name. Gives an object of outputs."""
    name, params = str(arguments.get("app")), dict(arguments.get("params") or {})
    try:
        registered = find(name)
    except UnknownCallable as error:
        raise Permanent(f"The app {name} has no local function. {error}") from None
    takes_all = "params" in inspect.signature(registered.function).parameters
    result = call(registered, context, {"params": params} if takes_all else params)
    if result is None:
        return {}
    if not isinstance(result, dict):
        given = context.mask(repr(result))[:100]
        raise Permanent(f"The app {name} must give an object of outputs, not {given}.")
    return result
