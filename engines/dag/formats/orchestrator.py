"""The format `orchestrator`: a `name` and a `dag` of `nodes`, each with a handler, its dependencies and
its config.

`{{ node.output.key }}` and `{{ node.key }}` are a key of that node's result, `{{ name }}` and
`{{ input.name }}` what the run was started with (nodenames). They are spelled as `${…}` when the
document is read, so whoever drives the steps knows nothing of them.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from engines.dag.formats.curly import reference_to
from engines.dag.formats.document import Document, Path
from engines.dag.formats.handlers import HANDLERS, PERMISSIONS, WORKFLOW, check_arguments
from engines.dag.formats.nodenames import OVERRIDES, SYNONYMS, Names
from engines.dag.formats.parameters import MAX_NAME
from engines.dag.formats.report import Parsed, Report, Section, kind
from engines.dag.formats.steps import References, check_cycles, default_retry, implied, read_names
from engines.dag.graph import Graph, StepSpec
from engines.dag.references import Reference

NAME = "orchestrator"
KEYS = ("name", "dag")
NODE_KEYS = ("id", "handler", "dependencies", "config")
MEANT = {"title": "name", "workflow_name": "name", "nodes": "dag", "steps": "dag", "graph": "dag"}
DAG_MEANT = {"steps": "nodes", "tasks": "nodes"}
NODE_MEANT = {
    "name": "id",
    "step_name": "id",
    "type": "handler",
    "app": "handler",
    "uses": "handler",
    "needs": "dependencies",
    "depends_on": "dependencies",
    "with": "config",
    "params": "config",
    "parameters": "config",
    "args": "config",
}
# Whatever replaces these could run another program, function or workflow than the one posted.
KEPT_HANDLERS = frozenset({*PERMISSIONS, WORKFLOW})


def parse(document: Document, report: Report) -> Parsed:
    """The graph of a document. May raise TooManyProblems."""
    report.steps, report.word = ("dag", "nodes"), "node"
    top = Section(report, document.value, (), KEYS, MEANT)
    title = top.text("name", required=True, most=MAX_NAME).strip()
    dag = Section(report, top.value.get("dag"), ("dag",), ("nodes",), DAG_MEANT)
    nodes = dag.items("nodes")
    if isinstance(top.value.get("dag"), Mapping) and dag.value.get("nodes", []) == []:
        report.problem(("dag", "nodes"), '"nodes" must list at least one node.')
    read_names(report, nodes, "id")
    names = Names(report, nodes)
    known = References(report, parameters=names.parameters)
    specs = []
    for index, node in enumerate(nodes):
        if isinstance(node, Mapping):
            specs.append(_node(report, names, known, index, node))
        else:
            report.problem((*report.steps, index), f"must be an object, not {kind(node)}.")
    if len(set(report.names.values())) == len(nodes):
        check_cycles(report, {spec.name: spec.needs for spec in specs})
    graph = Graph(
        title=title,
        format=NAME,
        steps=tuple(specs),
        parameters_schema=names.schema(specs),
    )
    return report.parsed(graph, _normalised(document.value, specs))


def _node(
    report: Report, names: Names, known: References, index: int, value: Mapping[str, Any]
) -> StepSpec:
    path: Path = (*report.steps, index)
    node = Section(report, value, path, NODE_KEYS, NODE_MEANT)
    name = report.names.get(index, "")
    word = node.text("handler", required=True)
    needs = known.needs(index, node.names("dependencies", one=False), "dependencies")
    written = node.mapping("config")
    config = {key: names.spelled(item, (*path, "config", key)) for key, item in written.items()}
    found = known.of(config, (*path, "config"), secrets=True)
    if any(reference.step == name for reference in found):
        report.problem(path, "it refers to its own result, which isn't there before it ran.")
    for added in implied(found, needs):
        if added != name:
            report.warn(
                (*path, "dependencies"),
                f'it uses the result of "{added}": added to dependencies.',
            )
            needs.append(added)
    handler, config = _called(node, word, config)
    replaceable = _replaceable(name, handler, written, found)
    if handler == "input":
        config, replaceable = names.give(name, config, replaceable)
    elif handler == "output" and not config:
        config = {need: reference_to("steps", (need, "result")) for need in needs}
    return StepSpec(
        name=name,
        handler=handler,
        config=config,
        needs=tuple(needs),
        retry=default_retry(),
        replaceable=replaceable,
        line=report.document.line(path),
    )


def _called(node: Section, word: str, config: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The engine's handler that the document's word means, and its arguments."""
    ours = SYNONYMS.get(word, word)
    path = (*node.path, "config")
    if ours in HANDLERS:
        arguments = HANDLERS[ours].arguments
        others = config if HANDLERS[ours].open else ()
        check_arguments(ours, Section(node.report, config, path, [*arguments, *others]))
        return ours, config
    if "{{" in word or "${" in word:
        node.wrong("handler", "can't hold a template: it must be known beforehand.")
    elif near := get_close_matches(word, [*HANDLERS, *SYNONYMS], n=1, cutoff=0.8):
        node.report.warn(
            (*node.path, "handler"),
            f'"{word}" is taken as a registered Python function. Did you mean "{near[0]}"?',
        )
    if "callable" in config:
        node.report.problem(
            (*path, "callable"), f'"callable" can\'t stand here: the handler names "{word}".'
        )
    return "python", {"callable": word, **config}


def _replaceable(
    name: str, handler: str, written: Mapping[str, Any], found: list[Reference]
) -> dict[str, tuple[Path, ...]]:
    """The config keys that a start may override. Never what decides which code runs, and nothing of
    a node that uses a secret: another address would be told it."""
    if handler in KEPT_HANDLERS or any(reference.root == "secrets" for reference in found):
        return {}
    arguments = HANDLERS[handler].arguments
    return {
        key: ((OVERRIDES, name, key),)
        for key in written
        if key not in arguments or not arguments[key].fixed
    }


def _normalised(value: Any, specs: list[StepSpec]) -> Any:
    """The document with every dependency in its dependencies."""
    dag = value.get("dag")
    if not isinstance(dag, Mapping) or not isinstance(dag.get("nodes"), list):
        return value
    needs = {spec.name: list(spec.needs) for spec in specs}
    nodes = [
        {**node, "dependencies": needs.get(node["id"], [])}
        if isinstance(node, Mapping) and isinstance(node.get("id"), str)
        else node
        for node in dag["nodes"]
    ]
    return {**value, "dag": {**dag, "nodes": nodes}}
