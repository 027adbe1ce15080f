"""What the names in a document of the format orchestrator mean: its nodes, and the parameters that its
`input` nodes and its templates declare."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from engines.dag.formats.curly import Place, pieces, reference_to, spelled, texts_of
from engines.dag.formats.document import Path
from engines.dag.formats.handlers import HANDLERS
from engines.dag.formats.parameters import MAX_PARAMETERS, is_name
from engines.dag.formats.report import Report
from engines.dag.graph import StepSpec
from engines.dag.references import TemplateError
from engines.parameters import suggestion

OVERRIDES = "overrides"
# The document's word -> the engine's handler.
SYNONYMS = {"call_external_service": "http", "external_service": "http"}
# Roots that mean the run's parameters where no node is called so.
STARTS = ("input", "params", "runtime")
OTHER_ROOTS = ("run", "vars", "secrets")

Config = dict[str, Any]
Ways = dict[str, tuple[Path, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One that a start may give. `schema`: its JSON Schema, which leaves the type open. `required`:
    nothing in the document stands for it."""

    required: bool = False
    schema: Mapping[str, Any] = field(default_factory=dict)


class Names:
    """The names of one document; `report` takes what is wrong with those that are parameters."""

    def __init__(self, report: Report, nodes: Sequence[Any]) -> None:
        self.report = report
        self.parameters: dict[str, Parameter] = {}
        self.handlers: dict[str, Any] = {}
        self._configs: dict[str, tuple[Path, Mapping[str, Any]]] = {}
        for index, name in report.names.items():
            self.handlers[name] = nodes[index].get("handler")
            config = nodes[index].get("config")
            if isinstance(config, Mapping):
                self._configs[name] = ((*report.steps, index, "config"), config)
        for name in self._inputs():
            self._declare_config(name)
        for path, config in self._configs.values():
            for where, text in texts_of(config, path):
                for place in _places(text):
                    self._declare_used(place, where)
        if len(self.parameters) > MAX_PARAMETERS:
            report.problem(
                report.steps,
                f"There are {len(self.parameters)} parameters; the most is {MAX_PARAMETERS}.",
            )

    def spelled(self, value: Any, path: Path) -> Any:
        """A config value with every template as a reference; notes what is wrong with them."""
        if isinstance(value, str):
            try:
                return spelled(value, self._reference)
            except TemplateError as error:
                self.report.problem(path, str(error))
                return None
        if isinstance(value, Mapping):
            return {key: self.spelled(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.spelled(item, (*path, index)) for index, item in enumerate(value)]
        return value

    def give(self, node: str, config: Config, replaceable: Ways) -> tuple[Config, Ways]:
        """The config of an `input` node: every parameter. What its document computes by a template
        counts where the start gave nothing."""
        computed = {key for key in config if self.computed(node, key)}
        full = {name: reference_to("params", (name,)) for name in self.parameters}
        return (
            full | {key: config[key] for key in computed},
            {
                key: (*ways, (key,)) if key in computed else ways
                for key, ways in replaceable.items()
            },
        )

    def computed(self, node: str, key: str) -> bool:
        """Whether a config value of a node holds a template."""
        path, config = self._configs.get(node, ((), {}))
        return any(_places(text) for _, text in texts_of(config.get(key), path))

    def schema(self, specs: Iterable[StepSpec]) -> dict[str, Any]:
        """What a start may give: the parameters, and under `overrides` config of nodes."""
        properties: dict[str, Any] = {
            name: dict(one.schema) for name, one in self.parameters.items()
        }
        nodes = {spec.name: _override(spec) for spec in specs if spec.replaceable}
        if nodes:
            properties[OVERRIDES] = _object(nodes) | {
                "title": "Overrides",
                "description": "Other values for the config of nodes, by node and key.",
            }
        required = [name for name, one in self.parameters.items() if one.required]
        schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **_object(properties)}
        return schema | {"required": required} if required else schema

    def _inputs(self) -> list[str]:
        return [name for name in self._configs if self.handlers[name] == "input"]

    def _declare_config(self, node: str) -> None:
        """Each config key of an input node is a parameter, its value the default."""
        path, config = self._configs[node]
        for key, value in config.items():
            where = (*path, key)
            if not self._is_fit(key, where):
                continue
            if self.computed(node, key):
                said = {"description": f"When left out: {value}"} if isinstance(value, str) else {}
                schema: dict[str, Any] = said
            else:
                schema = {"default": self._plain(value)}
            known = self.parameters.setdefault(key, Parameter(schema=schema))
            if known.schema != schema:
                self.report.problem(
                    where, f'the parameter "{key}" has another value in another input node.'
                )

    def _declare_used(self, place: Place, path: Path) -> None:
        """A name that no node has is a parameter, where it stands alone or after `input`."""
        node, rest = self._node(place)
        name: str | int | None = None
        if node is not None:
            if self.handlers[node] == "input":
                name = rest[0] if rest else None
        elif place.parts[0] in STARTS:
            name = place.parts[1] if len(place.parts) > 1 else None
        elif len(place.parts) == 1:
            name = place.parts[0]
            if name not in self.parameters and (near := suggestion(str(name), self.handlers)):
                self.report.warn(path, f"{place.text} is taken as a parameter.{near}")
        if isinstance(name, str) and name not in self.parameters:
            self._is_fit(name, path)
            self.parameters[name] = Parameter(required=True)

    def _is_fit(self, name: str, path: Path) -> bool:
        if name == OVERRIDES:
            self.report.problem(path, f'a parameter can\'t be called "{OVERRIDES}".')
        elif not is_name(name):
            self.report.problem(
                path,
                f'"{name[:200]}" is not the name of a parameter: use letters, digits, _ and -, '
                "and begin with a letter or _.",
            )
        else:
            return True
        return False

    def _node(self, place: Place) -> tuple[str | None, tuple[str | int, ...]]:
        """The node that a template begins with, and what is taken of its result. A node's name may
        have dots in it: the longest that fits counts."""
        for count in range(place.names, 0, -1):
            name = ".".join(str(part) for part in place.parts[:count])
            if name in self.handlers:
                rest = place.parts[count:]
                if rest and rest[0] == "output" and place.names > count:
                    rest = rest[1:]
                return name, rest
        return None, place.parts

    def _reference(self, place: Place) -> str:
        """Raises TemplateError for a name that means nothing."""
        node, rest = self._node(place)
        if node is not None:
            if self.handlers[node] in SYNONYMS and rest and rest[0] == "data":
                rest = ("body", *rest[1:])  # as those handlers call what was answered
            return reference_to("steps", (node, "result", *rest))
        first, rest = str(place.parts[0]), place.parts[1:]
        if first in self.parameters:
            return reference_to("params", place.parts)
        if first in STARTS and rest:
            if rest[0] in self.parameters:
                return reference_to("params", rest)
            raise TemplateError(f"{place.text}: the name of a parameter must follow {first}.")
        if first in OTHER_ROOTS and rest:
            return reference_to(first, rest)
        near = suggestion(first, [*self.handlers, *self.parameters])
        raise TemplateError(f'{place.text}: there is no node "{first}".{near}')

    def _plain(self, value: Any) -> Any:
        """A value without templates, where only quoted texts stand in braces."""
        if isinstance(value, str):
            try:
                return "".join(str(piece) for piece in pieces(value))
            except TemplateError:
                return value  # noted where the config is read
        if isinstance(value, Mapping):
            return {key: self._plain(item) for key, item in value.items()}
        return [self._plain(item) for item in value] if isinstance(value, list) else value


def _places(text: str) -> list[Place]:
    """The different templates in a text; those that can't be read are told where the config is read."""
    if "{{" not in text:
        return []
    try:
        return [piece for piece in dict.fromkeys(pieces(text)) if isinstance(piece, Place)]
    except TemplateError:
        return []


def _override(spec: StepSpec) -> dict[str, Any]:
    """What may replace the config of one node, with the types that its handler takes."""
    arguments = HANDLERS[spec.handler].arguments
    return _object(
        {
            key: {"type": list(arguments[key].types)}
            if key in arguments and arguments[key].types
            else {}
            for key in spec.replaceable
        }
    )


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(properties), "additionalProperties": False}
