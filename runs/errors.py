"""What an action may refuse, and why. Faces translate these; nothing is half done when one is raised."""

from collections.abc import Mapping
from typing import Any


class ActionError(Exception):
    """Base: the text is a sentence for the person who asked."""


class Invalid(ActionError):
    """Bad input. `errors`: field path -> what is wrong with it. `problems`: a definition's, with lines."""

    def __init__(
        self, errors: Mapping[str, str], *, problems: tuple[Any, ...] = (), detail: str = ""
    ) -> None:
        super().__init__(detail or " ".join(f"{name}: {text}" for name, text in errors.items()))
        self.errors = dict(errors)
        self.problems = problems


class Denied(ActionError):
    """The actor may see the object but may not do this to it."""


class Conflict(ActionError):
    """The object's state doesn't allow this, or somebody else was first. `current`: as it is now."""

    def __init__(self, message: str, current: Any = None) -> None:
        super().__init__(message)
        self.current = current


class Stale(Conflict):
    """The caller's version of the object is not the newest."""


class Taken(Conflict):
    """The uuid that the run of a step was to have belongs to another run."""
