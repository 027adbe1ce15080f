"""The Python functions that workflows may call: registered by a decorator, in modules that the
operator lists in WORKFLOWHUB_HANDLER_MODULES. Posted code is never imported.

    @handler("gc_content")
    def gc_content(sequence: str) -> float: ...

    @handler("GenomeAssembly2")
    def assemble(params: dict, context: StepContext) -> dict: ...

A function gets the step's arguments by name; one that has a parameter `context` also gets the
StepContext. What it returns is the step's result, and must be JSON. Any exception fails the try.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from django.conf import settings

Function = TypeVar("Function", bound=Callable[..., Any])


class UnknownCallable(LookupError):
    """No module that the operator listed registers this name."""


class Permanent(Exception):
    """Raised by a step for a failure that another try can't mend: it is not tried again."""


@dataclass(frozen=True, slots=True)
class Registered:
    """A function, and whether it wants the context."""

    function: Callable[..., Any]
    takes_context: bool


_registered: dict[str, Registered] = {}
_loaded: set[str] = set()


def handler(name: str) -> Callable[[Function], Function]:
    """Registers a function under a name. Raises ValueError if another function has it."""

    def register(function: Function) -> Function:
        known = _registered.get(name)
        if known is not None and _place(known.function) != _place(function):
            raise ValueError(f"Two functions are registered as {name!r}.")
        takes_context = "context" in inspect.signature(function).parameters
        _registered[name] = Registered(function, takes_context)
        return function

    return register


def _place(function: Callable[..., Any]) -> tuple[str, str]:
    return function.__module__, function.__qualname__


def find(name: str) -> Registered:
    """The function registered under a name. Raises UnknownCallable."""
    load()
    try:
        return _registered[name]
    except KeyError:
        known = ", ".join(sorted(_registered)) or "none"
        raise UnknownCallable(
            f"No function is registered as {name!r}. Registered: {known}. Modules are listed in "
            "WORKFLOWHUB_HANDLER_MODULES."
        ) from None


def load() -> None:
    """Imports the operator's modules, once."""
    for module in settings.WORKFLOWHUB_HANDLER_MODULES:
        if module not in _loaded:
            import_module(module)
            _loaded.add(module)


def call(registered: Registered, context: Any, arguments: dict[str, Any]) -> Any:
    """Calls it with keyword arguments. Raises Permanent if they don't fit its signature."""
    if registered.takes_context:
        arguments = {**arguments, "context": context}
    try:
        inspect.signature(registered.function).bind(**arguments)
    except TypeError as error:
        raise Permanent(f"The arguments don't fit: {error}.") from None
    return registered.function(**arguments)
