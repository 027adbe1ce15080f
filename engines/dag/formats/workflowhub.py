"""The format `workflowhub`: documented in docs/workflow_format.md."""

from collections.abc import Mapping
from typing import Any

from engines.dag.formats.document import Document, Path
from engines.dag.formats.flow import IN_PASSES, read_condition, read_repeat, read_trigger
from engines.dag.formats.hooks import check_names, read_hooks
from engines.dag.formats.parameters import MAX_NAME, read_labels, read_parameters
from engines.dag.formats.report import Parsed, Report, Section, kind
from engines.dag.formats.steps import References, check_cycles, implied, read_names
from engines.dag.formats.work import read_arguments, read_handler, read_retry
from engines.dag.graph import FailurePolicy, Graph, StepSpec
from engines.dag.references import Reference, TemplateError, whole_reference

NAME = "workflowhub"
KEYS = (
    "title",
    "description",
    "labels",
    "parameters",
    "max_parallel",
    "failure_policy",
    "timeout",
    "outputs",
    "on_success",
    "on_failure",
    "steps",
)
STEP_KEYS = (
    "name",
    "display_name",
    "handler",
    "with",
    "needs",
    "trigger",
    "when",
    "for_each",
    "repeat",
    "retry",
    "timeout",
    "on_success",
    "on_failure",
)
# Words of other systems -> ours, for the error about an unknown key.
MEANT = {
    "name": "title",
    "workflow_name": "title",
    "jobs": "steps",
    "tasks": "steps",
    "nodes": "steps",
    "inputs": "parameters",
    "params": "parameters",
    "fail_fast": "failure_policy",
    "concurrency": "max_parallel",
    "timeout_minutes": "timeout",
}
STEP_MEANT = {
    "id": "name",
    "step_name": "name",
    "title": "display_name",
    "uses": "handler",
    "app": "handler",
    "type": "handler",
    "run": "handler",
    "args": "with",
    "arguments": "with",
    "config": "with",
    "params": "with",
    "depends_on": "needs",
    "dependencies": "needs",
    "if": "when",
    "condition": "when",
    "with_items": "for_each",
    "foreach": "for_each",
    "matrix": "for_each",
    "trigger_rule": "trigger",
    "run_if": "trigger",
    "loop": "repeat",
    "until": "repeat",
    "while": "repeat",
    "times": "repeat",
    "retries": "retry",
}
MAX_ITEMS = 10_000


def parse(document: Document, report: Report) -> Parsed:
    """The graph of a document. May raise TooManyProblems."""
    top = Section(report, document.value, (), KEYS, MEANT)
    schema = read_parameters(report, top)
    steps = _step_list(report, top)
    read_names(report, steps, "name")
    known = References(report, parameters=schema.get("properties", {}))
    specs = [
        _step(report, known, index, step)
        for index, step in enumerate(steps)
        if _is_object(report, index, step)
    ]
    if len(set(report.names.values())) == len(steps):
        check_cycles(report, {spec.name: spec.needs for spec in specs})
    outputs = top.value.get("outputs")
    if outputs is not None and not isinstance(outputs, (dict, list)):
        top.wrong("outputs", f"must be an object or a list, not {kind(outputs)}.")
    known.of(outputs, ("outputs",))
    hooks = read_hooks(report, known, top, "")
    check_names(report, specs, hooks)
    graph = Graph(
        title=top.text("title", most=MAX_NAME).strip(),
        format=NAME,
        steps=tuple(specs),
        parameters_schema=schema,
        labels=read_labels(report, top),
        outputs=outputs,
        max_parallel=top.whole("max_parallel", least=1, most=10_000),
        failure_policy=FailurePolicy(
            top.choice("failure_policy", [policy.value for policy in FailurePolicy], "drain")
        ),
        timeout=top.seconds("timeout"),
        **hooks,
    )
    top.text("description", most=10_000)
    return report.parsed(graph, _normalised(document.value, specs))


def _step_list(report: Report, top: Section) -> list[Any]:
    steps = top.items("steps")
    if not steps and isinstance(top.value.get("steps", []), list):
        report.problem(("steps",), '"steps" must list at least one step.')
    return steps


def _is_object(report: Report, index: int, step: Any) -> bool:
    if isinstance(step, Mapping):
        return True
    report.problem(("steps", index), f"must be an object, not {kind(step)}.")
    return False


def _step(report: Report, known: References, index: int, value: Mapping[str, Any]) -> StepSpec:
    path: Path = ("steps", index)
    step = Section(report, value, path, STEP_KEYS, STEP_MEANT)
    mapped = value.get("for_each") is not None
    found: list[Reference] = []
    handler = read_handler(step)
    arguments = read_arguments(step, handler)
    repeat, of_until = read_repeat(step, known)
    inner = IN_PASSES if "repeat" in step else ()
    found += known.of(arguments, (*path, "with"), mapped=mapped, secrets=True, inner=inner)
    found += _for_each(step, known)
    when, of_when = read_condition(step, "when", known)
    found += of_until + of_when
    needs = known.needs(index, step.names("needs"), "needs")
    own = report.names.get(index, "")
    if any(reference.step == own for reference in found):
        hint = " What the pass before gave is ${previous}." if repeat else ""
        report.problem(path, f"it refers to its own result, which isn't there before it ran.{hint}")
    needs += [name for name in implied(found, needs) if name != own]
    return StepSpec(
        name=own,
        handler=handler,
        config=arguments,
        needs=tuple(needs),
        when=when,
        for_each=value.get("for_each"),
        repeat=repeat,
        trigger=read_trigger(step, needs),
        retry=read_retry(step),
        timeout=step.seconds("timeout"),
        display_name=step.text("display_name"),
        line=report.document.line(path),
        **read_hooks(report, known, step, own),
    )


def _for_each(step: Section, known: References) -> list[Reference]:
    value = step.value.get("for_each")
    path = (*step.path, "for_each")
    if value is None:
        return []
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            step.wrong("for_each", f"has {len(value):,} items; the most is {MAX_ITEMS:,}.")
        return known.of(value, path)
    try:
        if whole_reference(value) is None:
            step.wrong("for_each", "must be a list, or one reference that gives a list.")
            return []
    except TemplateError:
        pass  # the next line notes it with its place
    return known.of(value, path)


def _normalised(value: Any, specs: list[StepSpec]) -> Any:
    """The document in the order of the documentation, with every dependency written out."""
    if not isinstance(value, Mapping) or not isinstance(value.get("steps"), list):
        return value
    needs = {spec.name: list(spec.needs) for spec in specs}
    steps = []
    for step in value["steps"]:
        if isinstance(step, Mapping) and isinstance(step.get("name"), str):
            full = {**step, "needs": needs.get(step["name"]) or None}
            steps.append({key: full[key] for key in STEP_KEYS if full.get(key) is not None})
        else:
            steps.append(step)
    return {key: value[key] for key in KEYS if key in value} | {"steps": steps}
