"""References, `${steps.align.result.path}`: how they are written and what they give at run time.

Pure. Roots: `params`, `steps`, `item`, `index`, `run`, `vars`, `secrets`; any other bare name is
looked up in the run's parameters, then in the context (format bvbrc). `$${` stands for a plain `${`.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

ROOTS = ("params", "steps", "item", "index", "run", "vars", "secrets")
MAX_REFERENCE = 500
_KINDS: dict[type, str] = {
    type(None): "null",
    bool: "true or false",
    int: "a number",
    float: "a number",
    list: "a list",
    dict: "an object",
}
_NAME = re.compile(r"[A-Za-z0-9_-]+")
_STORED = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PART = re.compile(r'\.([A-Za-z0-9_-]+)|\[(\d{1,6})\]|\["([^"\\\]]{1,200})"\]')
_OPEN = re.compile(r"\$\$\{|\$\{")


class TemplateError(ValueError):
    """A reference that can't be read, or that gives nothing. The text names the reference."""


@dataclass(frozen=True, slots=True)
class Reference:
    """`root` and the way from there. For the root `steps` the path is (step, "result" | "outputs",
    …). `text` is the reference as written."""

    root: str
    path: tuple[str | int, ...]
    text: str

    @property
    def step(self) -> str | None:
        """The step whose result this is, if it is one."""
        return str(self.path[0]) if self.root == "steps" else None


class Absent:
    """The type of ABSENT: no value at all, which null is not."""

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = Absent()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What references can see. All mappings may be lazy.

    `params`: the run's parameters. `steps`: step name -> its result (of a step with for_each: the
    list of results by index); a step without a result may be left out, every reference to it gives
    null. `outputs`: step name -> its declared outputs, rendered (format bvbrc). `run`: id, uuid,
    attempt, labels, hub (its own address). `ended`: what a hook follows. `item` and `index`: of a
    mapped task or a pass. `result`: what the pass gave that has just ended; `previous`: what the pass
    before gave. `variables` and `secrets`: name -> text.
    """

    params: Mapping[str, Any] = field(default_factory=dict)
    steps: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    run: Mapping[str, Any] = field(default_factory=dict)
    item: Any = ABSENT
    result: Any = ABSENT
    previous: Any = ABSENT
    ended: Any = ABSENT
    index: int | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


Piece = str | Reference


@lru_cache(maxsize=20_000)
def pieces(text: str) -> tuple[Piece, ...]:
    """A text cut into plain texts and references. Raises TemplateError."""
    found: list[Piece] = []
    at = 0
    while match := _OPEN.search(text, at):
        if match.start() > at:
            found.append(text[at : match.start()])
        if match[0] == "$${":
            found.append("${")
            at = match.end()
            continue
        end = _closing(text, match.end())
        found.append(parse_reference(text[match.end() : end]))
        at = end + 1
    if at < len(text):
        found.append(text[at:])
    return tuple(found)


def parse_reference(text: str) -> Reference:
    """The reference between `${` and `}`. Raises TemplateError saying what is wrong."""
    shown = f"${{{text}}}"
    inner = text.strip()
    match = _NAME.match(inner)
    if not match:
        raise TemplateError(f"{shown} is not a reference: write ${{params.name}}, for example.")
    root, at = match[0], match.end()
    path: list[str | int] = []
    bare: list[bool] = []
    while at < len(inner):
        part = _PART.match(inner, at)
        if not part:
            raise TemplateError(
                f'{shown} is not a reference: after a name comes .name, [0] or ["name"].'
            )
        path.append(int(part[2]) if part[2] else part[1] or part[3])
        bare.append(part[1] is not None)
        at = part.end()
    if root == "steps":
        path = _step_path(path, bare, shown)
    elif root in {"params", "run"} and not (path and isinstance(path[0], str)):
        raise TemplateError(f"{shown} needs a name: ${{{root}.name}}.")
    elif root in {"vars", "secrets"}:
        _check_stored(path, shown, root)
    elif root == "index" and path:
        raise TemplateError(f"{shown}: the index is a number and has no parts.")
    return Reference(root, tuple(path), shown)


def whole_reference(value: Any) -> Reference | None:
    """The reference, if a value is a text of exactly one reference. Raises TemplateError."""
    if isinstance(value, str):
        found = pieces(value)
        if len(found) == 1 and isinstance(found[0], Reference):
            return found[0]
    return None


def as_text(value: Any) -> str:
    """A value as it is written within a text."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def lookup(reference: Reference, scope: Scope) -> Any:
    """What a reference gives. A declared parameter without value is null, and so is everything of a
    step without result; a key that isn't in what there is raises TemplateError."""
    path: Sequence[str | int] = reference.path
    if reference.root == "steps":
        return _step_value(reference, scope)
    if reference.root == "params":
        return _walk(scope.params.get(str(path[0])), path[1:], reference)
    if reference.root == "run":
        return _walk(scope.run, path, reference)
    if reference.root in {"vars", "secrets"}:
        return _stored(reference, scope)
    if reference.root == "item" and not isinstance(scope.item, Absent):
        return _walk(scope.item, path, reference)
    if reference.root == "ended" and not isinstance(scope.ended, Absent):
        return _walk(scope.ended, path, reference)
    if reference.root == "index" and scope.index is not None:
        return scope.index
    for root, value in (("result", scope.result), ("previous", scope.previous)):
        if reference.root == root and not isinstance(value, Absent):
            return None if value is None else _walk(value, path, reference)
    for names in (scope.params, scope.context):
        if reference.root not in ROOTS and reference.root in names:
            return _walk(names[reference.root], path, reference)
    raise TemplateError(f"{reference.text} is not known here.")


def reference_value(value: Any, reference: Reference) -> Any:
    """What a reference to a parameter gives, from the value of that parameter. Raises
    TemplateError."""
    return _walk(value, reference.path[1:], reference)


def _step_value(reference: Reference, scope: Scope) -> Any:
    name, kind, *rest = reference.path
    declared = scope.outputs.get(str(name)) or {}
    if kind == "outputs" and rest and rest[0] in declared:
        value = declared[str(rest[0])]
        return None if value is None else _walk(value, rest[1:], reference)
    result = scope.steps.get(str(name))
    if result is None:
        return None
    if kind == "outputs" and rest:
        # An output that nobody declared is the result's key of that name, or null.
        value = result.get(rest[0]) if isinstance(result, Mapping) else None
        return None if value is None else _walk(value, rest[1:], reference)
    return _walk(result, rest, reference)


def _stored(reference: Reference, scope: Scope) -> str:
    name = str(reference.path[0])
    found = scope.secrets if reference.root == "secrets" else scope.variables
    if name not in found:
        what = "secret" if reference.root == "secrets" else "variable"
        raise TemplateError(f"{reference.text}: the run was sent without a {what} of that name.")
    return found[name]


def _walk(value: Any, path: Sequence[str | int], reference: Reference) -> Any:
    for part in path:
        if isinstance(part, str) and isinstance(value, Mapping):
            if part not in value:
                raise TemplateError(f'{reference.text}: there is no "{part}" in it.')
            value = value[part]
        elif isinstance(part, int) and isinstance(value, (list, tuple)):
            if part >= len(value):
                raise TemplateError(
                    f"{reference.text}: there is no item {part}, the list has {len(value)}."
                )
            value = value[part]
        else:
            kind = _KINDS.get(type(value), "a text")
            shown = f"[{part}]" if isinstance(part, int) else f'"{part}"'
            raise TemplateError(f"{reference.text}: {shown} can't be taken of {kind}.")
    return value


def _closing(text: str, start: int) -> int:
    """Where the `}` of a reference is: the first one that isn't in a quoted name."""
    quoted = False
    for at in range(start, min(len(text), start + MAX_REFERENCE)):
        if text[at] == '"':
            quoted = not quoted
        elif text[at] == "}" and not quoted:
            return at
    raise TemplateError(
        f'"{text[start - 2 : start + 40]}" opens a reference and never closes it: '
        "end it with }, or write $${ for a plain ${."
    )


def _check_stored(path: list[str | int], shown: str, root: str) -> None:
    """A secret or a variable is a text with a name. Raises TemplateError."""
    if not path or not isinstance(path[0], str) or not _STORED.fullmatch(path[0]):
        raise TemplateError(
            f"{shown} needs a name of letters, digits, _ and - (100 at most): ${{{root}.name}}."
        )
    if len(path) > 1:
        raise TemplateError(f"{shown}: it is a text and has no parts.")


def _step_path(path: list[str | int], bare: list[bool], shown: str) -> list[str | int]:
    """The step's name as one part: `steps.a.b.result` is step `a.b`, written without brackets."""
    for at, part in enumerate(path):
        if at > 0 and bare[at] and part in {"result", "outputs"}:
            names = path[:at]
            if at == 1 and isinstance(names[0], str):
                return path
            if all(bare[:at]):
                return [".".join(str(name) for name in names), *path[at:]]
            break
    raise TemplateError(f"{shown} must be ${{steps.NAME.result}} or ${{steps.NAME.outputs.KEY}}.")
