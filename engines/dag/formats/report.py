"""What comes out of reading a definition, and the two things that every format reads with: a Report
that collects problems with their lines, and a Section, one object of the document."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from engines.base import Problem
from engines.dag.formats.document import Document, Path
from engines.dag.graph import HOOKS, Graph
from engines.durations import LONGEST, read_seconds
from engines.parameters import join_path, suggestion

MAX_PROBLEMS = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A definition as read: `graph` is None when there are problems. `normalised` is the document in
    its canonical form, with every implied dependency written out."""

    graph: Graph | None = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    normalised: Any = None


class TooManyProblems(Exception):
    """There is no use in reading on."""


class Report:
    """Collects problems and warnings. `names`: index of a step -> its name, for the paths. `steps`:
    where the list of steps stands; `word`: what the format calls one."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.steps: Path = ("steps",)
        self.word = "step"
        self.names: dict[int, str] = {}
        self.problems: list[Problem] = []
        self.warnings: list[Problem] = []

    def problem(self, path: Path, message: str) -> None:
        """Notes what is wrong at a path. Raises TooManyProblems after the 50th."""
        if len(self.problems) >= MAX_PROBLEMS:
            raise TooManyProblems
        self.problems.append(self._at(path, message))

    def warn(self, path: Path, message: str) -> None:
        """Notes what is doubtful at a path."""
        if len(self.warnings) < MAX_PROBLEMS:
            self.warnings.append(self._at(path, message))

    def parsed(self, graph: Graph | None, normalised: Any) -> Parsed:
        """The end of reading."""
        problems = sorted(self.problems, key=lambda problem: problem.line)
        if len(problems) >= MAX_PROBLEMS:
            problems.append(Problem(message=f"Only the first {MAX_PROBLEMS} problems are shown."))
        return Parsed(
            graph=None if problems else graph,
            problems=tuple(problems),
            warnings=tuple(sorted(self.warnings, key=lambda problem: problem.line)),
            normalised=normalised,
        )

    def _at(self, path: Path, message: str) -> Problem:
        named = list(path)
        at = len(self.steps)
        if len(path) > at and path[:at] == self.steps and isinstance(index := path[at], int):
            step = self.names.get(index)
            word = self.word.capitalize()
            if step is not None:
                named[at : at + 1] = [step]
                message = f'{word} "{step}"{_hook(path[at + 1 :], message)}: {message}'
            else:
                message = f"{word} {index + 1}{_hook(path[at + 1 :], message)}: {message}"
        elif hook := _hook(path, message):
            message = f"{hook[2:]}: {message}"
        return Problem(message=message, line=self.document.line(path), path=join_path(named))


def _hook(path: Path, message: str) -> str:
    """`, on_failure` where a problem lies within a hook and its message doesn't say so."""
    if not path or path[0] not in HOOKS or message.startswith(f'"{path[0]}"'):
        return ""
    return f", {path[0]}"


class Section:
    """An object of the document. Each getter checks one key's type, notes what is wrong, and gives
    the value, or what stands for none. Keys that aren't in `known` are refused; `meant` maps words
    that other systems use to ours."""

    def __init__(
        self,
        report: Report,
        value: Any,
        path: Path,
        known: Iterable[str],
        meant: Mapping[str, str] | None = None,
    ) -> None:
        self.report = report
        self.path = path
        self.value: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        known = list(known)
        if not isinstance(value, Mapping):
            own = f'"{path[-1]}" ' if path and isinstance(path[-1], str) else ""
            words = ", ".join(known[:4]) + (" and others" if len(known) > 4 else "")
            what = f"must be an object with keys like {words}, not {kind(value)}."
            report.problem(path, own + what if own else what[0].upper() + what[1:])
        for key in self.value:
            if key not in known:
                hint = (meant or {}).get(key)
                said = f' Did you mean "{hint}"?' if hint else suggestion(key, known)
                report.problem(
                    (*path, key), f'"{key[:100]}" is not a key that can stand here.{said}'
                )

    def __contains__(self, key: str) -> bool:
        return self.value.get(key) is not None

    def wrong(self, key: str, message: str) -> None:
        """Notes a problem with a key, whose name begins the sentence."""
        self.report.problem((*self.path, key), f'"{key}" {message}')

    def text(self, key: str, *, required: bool = False, most: int = 200) -> str:
        """A text without control characters, or ""."""
        value = self.value.get(key)
        if value is None:
            if required:
                self.report.problem(self.path, f'"{key}" is missing.')
            return ""
        if not isinstance(value, str):
            self.wrong(key, f"must be a text, not {kind(value)}.")
            return ""
        if len(value) > most:
            self.wrong(key, f"has {len(value)} characters; the most is {most}.")
            return ""
        if required and not value.strip():
            self.wrong(key, "must not be empty.")
        return value

    def choice(self, key: str, choices: Iterable[str], default: str) -> str:
        """One of several words."""
        value = self.value.get(key)
        words = list(choices)
        if value is None or value in words:
            return default if value is None else str(value)
        said = suggestion(value, words) if isinstance(value, str) else ""
        self.wrong(key, f"must be one of {', '.join(words)}.{said}")
        return default

    def whole(self, key: str, *, least: int, most: int) -> int | None:
        """A whole number within limits, or None."""
        value = self.number(key, least=least, most=most)
        if value is not None and not isinstance(value, int):
            self.wrong(key, f"must be a whole number, not {value}.")
            return None
        return value

    def number(self, key: str, *, least: float, most: float) -> float | int | None:
        """A number within limits, or None."""
        value = self.value.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self.wrong(key, f"must be a number, not {kind(value)}.")
            return None
        if not least <= value <= most:
            self.wrong(key, f"must be between {least:g} and {most:g}.")
            return None
        return value

    def seconds(self, key: str, *, zero: bool = False) -> float | None:
        """A duration: seconds as a number, or a text like 90s, 5m, 1h30m or 2d."""
        value = self.value.get(key)
        if value is None:
            return None
        seconds = read_seconds(value)
        if seconds is None:
            self.wrong(key, "must be seconds as a number, or a text like 90s, 5m, 1h30m or 2d.")
        elif not (seconds >= 0 if zero else seconds > 0) or seconds > LONGEST:
            self.wrong(key, "must be more than nothing and at most ten years.")
            seconds = None
        return seconds

    def mapping(self, key: str) -> Mapping[str, Any]:
        """An object, or {}."""
        value = self.value.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.wrong(key, f"must be an object, not {kind(value)}.")
            return {}
        return value

    def items(self, key: str) -> list[Any]:
        """A list, or []."""
        value = self.value.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.wrong(key, f"must be a list, not {kind(value)}.")
            return []
        return value

    def names(self, key: str, *, one: bool = True) -> list[str]:
        """A list of texts (where `one`, or just one text), each only once."""
        value = self.value.get(key)
        if one and isinstance(value, str):
            return [value]
        found: list[str] = []
        for index, item in enumerate(self.items(key)):
            path = (*self.path, key, index)
            if not isinstance(item, str):
                self.report.problem(path, f'"{key}" must hold texts, not {kind(item)}.')
            elif item in found:
                self.report.problem(path, f'"{key}" names "{item[:200]}" twice.')
            else:
                found.append(item)
        return found


def kind(value: Any) -> str:
    """What a value is, for a sentence: `a list`, `the number 3`, `nothing`."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return f"the number {value}"
    if isinstance(value, str):
        return f'the text "{value[:60]}"'
    return "a list" if isinstance(value, list) else "an object"
