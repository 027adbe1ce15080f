"""Which runs an engine takes, in words."""

from engines.models import Engine
from engines.selectors import Requirement, SelectorError, parse_selector


def takes(engine: Engine) -> str:
    """A sentence: `Takes runs with team=physics and without archived.`"""
    if not engine.enabled:
        return "Takes no runs: it is disabled."
    if not engine.accepts_runs:
        return "Takes no new runs; those it has are watched to their end."
    try:
        requirements = parse_selector(engine.selector)
    except SelectorError as error:
        return f"Takes only runs that name it: {error}"
    if not requirements:
        return "Takes any run of its formats."
    return f"Takes runs {' and '.join(_words(one) for one in requirements)}."


def _words(requirement: Requirement) -> str:
    key, values = requirement.key, " or ".join(requirement.values)
    return {
        "in": f"with {key}={values}",
        "notin": f"without {key}={values}",
        "exists": f"with a label {key}",
        "not exists": f"without a label {key}",
    }[requirement.operator]
