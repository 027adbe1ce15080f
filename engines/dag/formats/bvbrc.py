"""The format `bvbrc`: steps that run apps of the BV-BRC scheduler, or local callables of that name.

`${name}` is a key of `base_context`, which a start may override as a parameter; `${params.x}` is the
step's own parameter and is written out when the document is read; `${steps.a.outputs.b}` is an
output of another step. A step becomes the handler `app` with `{"app": …, "params": …}`.
"""

from collections.abc import Mapping
from typing import Any

from django.conf import settings

from engines.dag.formats.document import Document, Path
from engines.dag.formats.ownparams import OwnParams
from engines.dag.formats.parameters import MAX_NAME, is_name
from engines.dag.formats.report import Parsed, Report, Section, kind
from engines.dag.formats.steps import References, check_cycles, default_retry, implied, read_names
from engines.dag.graph import Graph, StepSpec
from engines.dag.references import ROOTS, Reference

NAME = "bvbrc"
HANDLER = "app"
KEYS = ("workflow_name", "version", "base_context", "steps", "workflow_outputs")
STEP_KEYS = ("step_name", "app", "params", "outputs", "depends_on")
MEANT = {"name": "workflow_name", "title": "workflow_name", "outputs": "workflow_outputs"}
STEP_MEANT = {"name": "step_name", "needs": "depends_on", "parameters": "params"}


def parse(document: Document, report: Report) -> Parsed:
    """The graph of a document. May raise TooManyProblems."""
    top = Section(report, document.value, (), KEYS, MEANT)
    title = top.text("workflow_name", required=True, most=MAX_NAME).strip()
    top.text("version")
    context = top.mapping("base_context")
    _check_context(report, context)
    steps = top.items("steps")
    if not steps and isinstance(top.value.get("steps", []), list):
        report.problem(("steps",), '"steps" must list at least one step.')
    read_names(report, steps, "step_name")
    known = References(report, parameters=None, context=context)
    declared = {
        name: set(outputs) if isinstance(outputs := steps[index].get("outputs"), dict) else set()
        for index, name in report.names.items()
    }
    own = OwnParams(report)
    specs = []
    for index, step in enumerate(steps):
        if isinstance(step, Mapping):
            specs.append(_step(report, known, own, declared, index, step))
        else:
            report.problem(("steps", index), f"must be an object, not {kind(step)}.")
    if len(set(report.names.values())) == len(steps):
        check_cycles(report, {spec.name: spec.needs for spec in specs})
    outputs = top.names("workflow_outputs", one=False)
    path: Path = ("workflow_outputs",)
    for at, output in enumerate(outputs):
        _warn_undeclared(report, known.of(output, (*path, at)), declared, (*path, at))
    graph = Graph(
        title=title,
        format=NAME,
        steps=tuple(specs),
        parameters_schema=_schema(context),
        outputs=outputs,
        context=context,
        max_parallel=settings.WORKFLOWHUB_BVBRC_MAX_PARALLEL,
    )
    return report.parsed(graph, _normalised(document.value, specs))


def _check_context(report: Report, context: Mapping[str, Any]) -> None:
    for name, value in context.items():
        if name in ROOTS:
            report.warn(
                ("base_context", name), f"${{{name}}} means something else: choose another name."
            )
        if isinstance(value, str) and "${" in value:
            report.warn(("base_context", name), "references in base_context are not resolved.")


def _step(
    report: Report,
    known: References,
    own: OwnParams,
    declared: Mapping[str, set[str]],
    index: int,
    value: Mapping[str, Any],
) -> StepSpec:
    path: Path = ("steps", index)
    step = Section(report, value, path, STEP_KEYS, STEP_MEANT)
    name = report.names.get(index, "")
    app = step.text("app", required=True)
    if "${" in app:
        step.wrong("app", "can't hold a reference: it must be known beforehand.")
    params = own.resolve(step.mapping("params"), (*path, "params"))
    outputs = own.fill(step.mapping("outputs"), params, (*path, "outputs"))
    found: list[Reference] = []
    for key, part in (("params", params), ("outputs", outputs)):
        references = known.of(part, (*path, key), secrets=key == "params")
        _warn_undeclared(report, references, declared, (*path, key))
        found += references
    if any(reference.step == name for reference in found):
        report.problem(path, "it refers to its own outputs, which aren't there before it ran.")
    needs = known.needs(index, step.names("depends_on", one=False), "depends_on")
    for added in implied(found, needs):
        if added != name:
            report.warn(
                (*path, "depends_on"), f'it uses outputs of "{added}": added to depends_on.'
            )
            needs.append(added)
    return StepSpec(
        name=name,
        handler=HANDLER,
        config={"app": app, "params": params},
        needs=tuple(needs),
        retry=default_retry(),
        outputs=outputs,
        line=report.document.line(path),
    )


def _warn_undeclared(
    report: Report, found: list[Reference], declared: Mapping[str, set[str]], path: Path
) -> None:
    for reference in found:
        if reference.step is None or reference.path[1] != "outputs" or len(reference.path) < 3:
            continue
        if reference.path[2] not in declared.get(reference.step, ()):
            report.warn(
                path,
                f'{reference.text}: step "{reference.step}" declares no output '
                f'"{reference.path[2]}"; it is taken from the step\'s result, or is null.',
            )


def _schema(context: Mapping[str, Any]) -> dict[str, Any]:
    """The context as parameters of the run, each with the type and the default of its value."""
    properties: dict[str, Any] = {}
    for name, value in context.items():
        if is_name(name) and name not in ROOTS:
            properties[name] = {"type": types, "default": value} if (types := _type(value)) else {}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }


def _type(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "string"
    if isinstance(value, list):
        return "array"
    return "object" if isinstance(value, dict) else ""


def _normalised(value: Any, specs: list[StepSpec]) -> Any:
    """The document with every dependency in its depends_on."""
    if not isinstance(value, Mapping) or not isinstance(value.get("steps"), list):
        return value
    needs = {spec.name: list(spec.needs) for spec in specs}
    steps = [
        {**step, "depends_on": needs.get(step["step_name"], [])}
        if isinstance(step, Mapping) and isinstance(step.get("step_name"), str)
        else step
        for step in value["steps"]
    ]
    return {**value, "steps": steps}
