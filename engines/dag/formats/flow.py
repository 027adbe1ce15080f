"""What a step says about when it starts and how often: `when`, `trigger`, `repeat`."""

from collections.abc import Collection, Mapping, Sequence

from engines.dag.formats.report import Section, kind
from engines.dag.formats.steps import References
from engines.dag.graph import Repeat, TriggerRule
from engines.dag.references import Reference, TemplateError
from engines.dag.templating import compile_expression

REPEAT_KEYS = ("until", "max", "delay")
REPEAT_MEANT = {
    "times": "max",
    "count": "max",
    "limit": "max",
    "most": "max",
    "condition": "until",
    "while": "until",
    "wait": "delay",
    "interval": "delay",
    "every": "delay",
}
MAX_PASSES = 10_000
# What only one pass can see: its arguments, and the condition that is asked after it.
IN_PASSES = ("index", "previous")
IN_UNTIL = ("index", "result")


def read_condition(
    section: Section, key: str, known: References, inner: Collection[str] = ()
) -> tuple[str | None, list[Reference]]:
    """A condition and what it refers to. `inner`: see References.known."""
    value = section.value.get(key)
    if value is None:
        return None, []
    if isinstance(value, bool):
        value = str(value).lower()
    if not isinstance(value, str):
        section.wrong(key, f"must be a condition as a text, not {kind(value)}.")
        return None, []
    path = (*section.path, key)
    try:
        expression = compile_expression(value)
    except TemplateError as error:
        section.report.problem(path, f'"{key}": {error}')
        return None, []
    return value, known.known(expression.references, path, inner=inner)


def read_repeat(step: Section, known: References) -> tuple[Repeat | None, list[Reference]]:
    """The passes of a step and what their condition refers to."""
    value = step.value.get("repeat")
    if value is None:
        return None, []
    if step.value.get("for_each") is not None:
        step.wrong(
            "repeat",
            "can't stand beside for_each: let one step make the list, and another go through it.",
        )
    if isinstance(value, int) and not isinstance(value, bool):
        value = {"max": value}
    path = (*step.path, "repeat")
    repeat = Section(step.report, value, path, REPEAT_KEYS, REPEAT_MEANT)
    until, found = read_condition(repeat, "until", known, IN_UNTIL)
    most = repeat.whole("max", least=1, most=MAX_PASSES)
    delay = repeat.seconds("delay", zero=True)
    unsaid = "until" not in repeat and "max" not in repeat
    if unsaid and isinstance(value, Mapping) and value.keys() <= set(REPEAT_KEYS):
        step.wrong("repeat", 'needs "until", "max" or both: else it would not say when it ends.')
    default = Repeat()
    return Repeat(
        until=until,
        most=default.most if most is None else most,
        delay=default.delay if delay is None else delay,
    ), found


def read_trigger(step: Section, needs: Sequence[str]) -> TriggerRule:
    """What must have become of the step's needs before it starts."""
    rule = TriggerRule(
        step.choice("trigger", [rule.value for rule in TriggerRule], TriggerRule.ALL_SUCCESS.value)
    )
    if rule.tolerant and not needs:
        step.wrong(
            "trigger", f"can't be {rule.value}: the step needs no other whose end it awaits."
        )
    return rule
