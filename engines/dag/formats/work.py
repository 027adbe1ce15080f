"""What a step and a hook have in common: a handler with its arguments, further tries, a time limit."""

from collections.abc import Mapping
from typing import Any

from engines.dag.formats.document import Path
from engines.dag.formats.handlers import HANDLERS, check_arguments
from engines.dag.formats.report import Section
from engines.dag.formats.steps import default_retry
from engines.dag.graph import Retry
from engines.parameters import suggestion

RETRY_MEANT = {"max": "limit", "attempts": "limit", "backoff": "factor", "max_delay": "most"}
MAX_RETRIES = 100


def read_handler(section: Section) -> str:
    """The handler's name; notes one that there isn't."""
    name = section.text("handler", required=True)
    if name and name not in HANDLERS:
        section.wrong(
            "handler",
            f'can\'t be "{name[:100]}": there are {", ".join(HANDLERS)}.'
            + suggestion(name, HANDLERS),
        )
    return name


def read_arguments(section: Section, handler: str) -> Mapping[str, Any]:
    """The handler's arguments, checked as far as they are known by now."""
    arguments = section.mapping("with")
    if handler in HANDLERS:
        path: Path = (*section.path, "with")
        open_names = arguments if HANDLERS[handler].open else ()
        known = [*HANDLERS[handler].arguments, *open_names]
        check_arguments(handler, Section(section.report, arguments, path, known))
    return arguments


def read_retry(section: Section) -> Retry:
    """How often it is tried again, and after how long: what is left out is as the settings say."""
    value = section.value.get("retry")
    default = default_retry()
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool):
        value = {"limit": value}
    path: Path = (*section.path, "retry")
    retry = Section(section.report, value, path, ("limit", "delay", "factor", "most"), RETRY_MEANT)
    limit = retry.whole("limit", least=0, most=MAX_RETRIES)
    delay, most = retry.seconds("delay", zero=True), retry.seconds("most", zero=True)
    factor = retry.number("factor", least=1, most=10)
    return Retry(
        limit=default.limit if limit is None else limit,
        delay=default.delay if delay is None else delay,
        factor=default.factor if factor is None else factor,
        most=default.most if most is None else most,
    )
