"""How an engine is, asked now and then and written where it changed."""

from typing import Any

from engines.base import EngineAdapter, EngineError, EngineRejected, Health
from engines.clock import database_now
from engines.config import ConfigError
from engines.models import Engine
from engines.registry import UnknownKind
from engines.states import HealthState
from runs.reconciler.calls import Calls

EVERY = 30.0  # seconds


def check(engine: Engine, calls: Calls) -> HealthState:
    """Asks, notes the answer on `engine` (unsaved) and says what it is."""
    try:
        answer = calls.ask("health", calls.adapter.health)
    except EngineError as error:
        return note_error(engine, error)
    return note_answer(engine, calls.adapter, answer)


def note_answer(engine: Engine, adapter: EngineAdapter, answer: Health) -> HealthState:
    engine.engine_version = answer.version[:200]
    engine.capabilities = {**adapter.capability_table(), **answer.capabilities}
    state = HealthState.HEALTHY if answer.ok else HealthState.UNHEALTHY
    return _note(engine, state, answer.message)


def note_error(engine: Engine, error: EngineError) -> HealthState:
    """Why it could not be asked, or refuses us."""
    rejected = isinstance(error, EngineRejected)
    return _note(engine, HealthState.REJECTED if rejected else HealthState.UNHEALTHY, str(error))


def note_unusable(engine: Engine, error: ConfigError | UnknownKind) -> None:
    """No adapter can be made of the engine's settings."""
    _note(engine, HealthState.REJECTED, f"Its settings are wrong: {error}")


def note_broken(engine: Engine, error: Exception) -> None:
    """Something that no adapter may raise came out of a tick: a bug, for an operator to see."""
    text = engine.words_of(error)
    _note(engine, HealthState.UNHEALTHY, f"Looking at it broke, see the log of sync: {text}")


def _note(engine: Engine, state: HealthState, message: str) -> HealthState:
    engine.health, engine.health_message = state, message[:2000]
    engine.checked_at = database_now()
    return state


def describe(answer: Health) -> dict[str, Any]:
    """A health answer as JSON, for the page that asked for a test."""
    return {
        "ok": answer.ok,
        "version": answer.version,
        "message": answer.message,
        "capabilities": dict(answer.capabilities),
        "details": dict(answer.details),
    }
