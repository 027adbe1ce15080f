"""Where an engine's own UI shows a run. Asks no engine: the adapter makes the address of its settings."""

from urllib.parse import urlsplit, urlunsplit

from engines.base import EngineError
from engines.config import ConfigError
from engines.connect import connect
from engines.registry import UnknownKind
from engines.secrets import UnreadableSecret
from runs.models import WorkflowRun


def engine_page(run: WorkflowRun) -> str:
    """The address, without any user or password in it; empty where there is none."""
    if run.engine is None or not run.external_id:
        return ""
    try:
        address = connect(run.engine).link(run.external_id)
        parts = urlsplit(address)
    except (EngineError, ConfigError, UnknownKind, UnreadableSecret, ValueError):
        return ""  # the page of the engine says what is wrong with it
    if parts.scheme not in {"http", "https"} or not address.isprintable():
        return ""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
