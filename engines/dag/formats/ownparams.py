"""`${params.x}` of the format bvbrc: a step's own parameter, in its other parameters and its outputs.
Each is replaced by what the parameter says, so that what is left needs only the run's names."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from engines.dag.formats.document import Path
from engines.dag.formats.report import Report
from engines.dag.references import Reference, TemplateError, as_text, pieces, reference_value
from engines.parameters import suggestion

# Characters and parts that the replacements of one document may come to.
BUDGET = 2_000_000


class OwnParams:
    """Replaces for one document; `report` takes what is wrong."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.budget = BUDGET

    def resolve(self, params: Mapping[str, Any], path: Path) -> dict[str, Any]:
        """A step's params without references to each other."""
        done: dict[str, Any] = {}
        for name in params:
            self._param(name, params, done, (), (*path, name))
        return {name: done.get(name) for name in params}

    def fill(self, value: Any, params: Mapping[str, Any], path: Path) -> Any:
        """A value with the step's params, which are resolved already, filled in."""
        return self._fill(value, params, dict(params), (), path)

    def _param(
        self,
        name: str,
        params: Mapping[str, Any],
        done: dict[str, Any],
        trail: tuple[str, ...],
        path: Path,
    ) -> None:
        if name in done:
            return
        if name in trail or len(trail) >= 50:
            around = " → ".join([*trail[trail.index(name) if name in trail else 0 :], name])
            self.report.problem(path, f"the params refer to each other in a cycle: {around[:500]}.")
            done[name] = None
            return
        filled = self._fill(params[name], params, done, (*trail, name), path)
        done.setdefault(name, filled)

    def _fill(
        self,
        value: Any,
        params: Mapping[str, Any],
        done: dict[str, Any],
        trail: tuple[str, ...],
        path: Path,
    ) -> Any:
        if isinstance(value, str) and "${" in value:
            try:
                return self._text(value, params, done, trail, path)
            except TemplateError as error:
                self.report.problem(path, str(error))
                return None
        if isinstance(value, Mapping):
            return {
                key: self._fill(item, params, done, trail, (*path, key))
                for key, item in value.items()
            }
        if isinstance(value, list):
            return [
                self._fill(item, params, done, trail, (*path, index))
                for index, item in enumerate(value)
            ]
        return value

    def _text(
        self,
        text: str,
        params: Mapping[str, Any],
        done: dict[str, Any],
        trail: tuple[str, ...],
        path: Path,
    ) -> Any:
        found = pieces(text)
        parts: list[Any] = []
        for piece in found:
            if isinstance(piece, Reference) and piece.root == "params":
                name = str(piece.path[0])
                if name not in params:
                    raise TemplateError(
                        f'{piece.text}: the step has no param "{name}".{suggestion(name, params)}'
                    )
                self._param(name, params, done, trail, path)
                part = reference_value(done[name], piece)
                self._pay(part)
                if len(found) > 1 and isinstance(part, (dict, list)):
                    raise TemplateError(f"{piece.text} is no text and can't be put within one.")
                parts.append(part)
            elif isinstance(piece, Reference):
                parts.append(piece.text)
            else:
                parts.append(piece.replace("${", "$${"))
        if len(parts) == 1:
            return parts[0]
        texts = [as_text(part) for part in parts]
        for text, after in pairwise(texts):
            if text.endswith("$") and after.startswith(("{", "${")):
                raise TemplateError("A $ right before { would begin a reference that isn't meant.")
        joined = "".join(texts)
        self._pay(joined)
        return joined

    def _pay(self, value: Any) -> None:
        """Charges a replacement: a few lines could otherwise double themselves without end."""
        left = [value]
        while left:
            part = left.pop()
            self.budget -= 1 + (len(part) if isinstance(part, str) else 0)
            if self.budget < 0:
                raise TemplateError("The params filled into each other become too large.")
            if isinstance(part, dict):
                left.extend(part.values())
            elif isinstance(part, list):
                left.extend(part)
