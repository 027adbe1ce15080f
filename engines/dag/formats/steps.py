"""What all formats check of their steps: names, references, the dependencies that references imply,
and cycles."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from django.conf import settings

from engines.dag.formats.document import Path
from engines.dag.formats.report import Report
from engines.dag.graph import Retry
from engines.dag.references import ROOTS, Reference, TemplateError
from engines.dag.templating import references, template_texts
from engines.parameters import suggestion

MAX_STEPS = 10_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}")
RUN_KEYS = ("id", "uuid", "attempt", "labels", "hub")
ONLY_ARGUMENTS = (
    "a secret can stand only among the arguments of a step or a hook: what is here is shown."
)


# What isn't known everywhere: who knows it.
LOCAL = {
    "item": "only a step with for_each has it.",
    "index": "only a step with for_each or repeat has it.",
    "result": "only the condition until of a step with repeat has it. A step's result is "
    "${steps.NAME.result}.",
    "previous": "only the arguments of a step with repeat have it.",
}


def read_names(report: Report, steps: Sequence[Any], key: str) -> None:
    """Takes the steps' names from `key` into report.names; notes missing, bad and double ones."""
    if len(steps) > MAX_STEPS:
        report.problem(
            report.steps, f"There are {len(steps):,} {report.word}s; the most is {MAX_STEPS:,}."
        )
    first: dict[str, int] = {}
    for index, step in enumerate(steps):
        name = step.get(key) if isinstance(step, Mapping) else None
        if not isinstance(name, str):
            if isinstance(step, Mapping):
                what = "must be a text" if key in step else "is missing"
                report.problem((*report.steps, index, key), f'"{key}" {what}.')
            continue
        if not _NAME.fullmatch(name):
            report.problem(
                (*report.steps, index, key),
                f'"{name[:200]}" is not a name: use letters, digits, _ - and . (200 at most), and '
                "begin with a letter, a digit or _.",
            )
            continue
        report.names[index] = name
        if name in first:
            line = report.document.line((*report.steps, first[name]))
            report.problem(
                (*report.steps, index, key),
                f"the name stands already at line {line}; give another.",
            )
        first.setdefault(name, index)


class References:
    """Checks references against what there is. `parameters`: the run's; `context`: bare names."""

    def __init__(
        self,
        report: Report,
        *,
        parameters: Collection[str] | None,
        context: Collection[str] = (),
    ) -> None:
        self.report = report
        self.steps = set(report.names.values())
        self.parameters = parameters
        self.context = context

    def of(
        self,
        value: Any,
        path: Path,
        *,
        mapped: bool = False,
        secrets: bool = False,
        inner: Collection[str] = (),
    ) -> list[Reference]:
        """The references in a value, good ones only; notes the others. `mapped`: whether item and
        index are known here; `secrets`: whether secrets may stand here; `inner`: further roots that
        are known only here."""
        good: list[Reference] = []
        for where, text in template_texts(value, path):
            try:
                found = references(text)
            except TemplateError as error:
                self.report.problem(where, str(error))
                continue
            good += self.known(found, where, mapped=mapped, secrets=secrets, inner=inner)
        return good

    def known(
        self,
        found: Iterable[Reference],
        path: Path,
        *,
        mapped: bool = False,
        secrets: bool = False,
        inner: Collection[str] = (),
    ) -> list[Reference]:
        """Those of the references that can be resolved; notes the others."""
        good: list[Reference] = []
        for reference in sorted(found, key=lambda reference: reference.text):
            wrong = "" if reference.root in inner else self._wrong(reference, mapped, secrets)
            if wrong:
                self.report.problem(path, f"{reference.text}: {wrong}")
            else:
                good.append(reference)
        return good

    def needs(self, index: int, needs: Sequence[str], key: str) -> list[str]:
        """The known ones of a step's needs; notes those that aren't there, and the step itself."""
        good: list[str] = []
        for at, name in enumerate(needs):
            path: Path = (*self.report.steps, index, key, at)
            if name not in self.steps:
                near = suggestion(name, self.steps)
                self.report.problem(
                    path,
                    f'there is no {self.report.word} "{name[:200]}" that it could need.{near}',
                )
            elif name == self.report.names.get(index):
                self.report.problem(path, "it needs itself.")
            else:
                good.append(name)
        return good

    def _wrong(self, reference: Reference, mapped: bool, secrets: bool) -> str:
        root, name = reference.root, str(reference.path[0]) if reference.path else ""
        if root == "steps":
            if name in self.steps:
                return ""
            return f'there is no step "{name}".{suggestion(name, self.steps)}'
        if root == "params" and self.parameters is not None:
            if name in self.parameters:
                return ""
            return f'there is no parameter "{name}".{suggestion(name, self.parameters)}'
        if root == "run":
            known = ", ".join(RUN_KEYS)
            return "" if name in RUN_KEYS else f'a run has no "{name}", but {known}.'
        if root in {"item", "index"}:
            return "" if mapped else LOCAL[root]
        if root == "secrets":
            return "" if secrets else ONLY_ARGUMENTS
        if root == "vars" or root in self.context:
            return ""
        if root in LOCAL:
            return LOCAL[root]
        if root == "ended":
            return "only a hook (on_success, on_failure) has it."
        known_roots = [word for word in ROOTS if word != "params" or self.parameters is not None]
        return (
            f'"{root}" is not known.{suggestion(root, [*known_roots, *self.context])} A reference '
            f"begins with {', '.join([*known_roots, *sorted(self.context)[:10]])}."
        )


def default_retry() -> Retry:
    """How a step that says nothing is tried again: as the settings say."""
    return Retry(
        limit=settings.WORKFLOWHUB_RETRIES,
        delay=settings.WORKFLOWHUB_RETRY_DELAY,
        factor=settings.WORKFLOWHUB_RETRY_FACTOR,
    )


def implied(found: Iterable[Reference], needs: Sequence[str]) -> list[str]:
    """The steps that references need beside those that are named already, in order of their names."""
    return sorted({r.step for r in found if r.step is not None} - set(needs))


def check_cycles(report: Report, needs: Mapping[str, Sequence[str]]) -> None:
    """Notes the first cycle among steps, with its path."""
    index = {name: at for at, name in reversed(report.names.items())}
    done: set[str] = set()
    for start in needs:
        trail: list[str] = []
        on_trail: set[str] = set()
        stack: list[tuple[str, int]] = [(start, 0)]
        while stack:
            name, at = stack.pop()
            if at == 0:
                if name in done:
                    continue
                trail.append(name)
                on_trail.add(name)
            if at < len(needs[name]):
                stack.append((name, at + 1))
                other = needs[name][at]
                if other in on_trail:
                    cycle = [*reversed(trail[trail.index(other) :]), trail[-1]]
                    path = (*report.steps, index[other]) if other in index else report.steps
                    shown = " → ".join(cycle if len(cycle) <= 20 else [*cycle[:20], "…"])
                    report.problem(
                        path, f"the {report.word}s wait for each other in a cycle: {shown}."
                    )
                    return
                if other in needs and other not in done:
                    stack.append((other, 0))
            else:
                trail.pop()
                on_trail.discard(name)
                done.add(name)
