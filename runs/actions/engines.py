"""Registering engines and asking things of them."""

from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import ProtectedError

from engines.config import ConfigError, clean_config
from engines.models import Engine, EngineJob
from engines.registry import UnknownKind, adapter_class
from engines.selectors import SelectorError, parse_selector
from engines.states import HealthState
from runs import audit
from runs.errors import Conflict, Invalid, Stale
from runs.models import WorkflowRun
from runs.policy import Action, Actor, require
from runs.wakeups import wake_reconciler

# What a job takes beyond an engine that answers.
CAPABILITY_OF = {
    EngineJob.Action.IMPORT_DEFINITIONS: "import_definitions",
    EngineJob.Action.IMPORT_RUNS: "import_runs",
}
EDITABLE = ("selector", "priority", "enabled", "accepts_runs")


def create_engine(
    actor: Actor, *, name: str, kind: str, config: Mapping[str, Any] | None = None, **fields: Any
) -> Engine:
    """A new engine. `config` holds plain and secret settings together, as the adapter declares them;
    `fields`: selector, priority, enabled, accepts_runs."""
    require(actor, Action.MANAGE_ENGINES)
    engine = Engine(name=name, kind=kind, **_fields(fields))
    _configure(engine, config or {}, keep={})
    with transaction.atomic():
        _save(engine)
        audit.record(actor, "create", engine, kind=kind)
        request_engine_job(actor, engine, EngineJob.Action.TEST)
    return engine


def edit_engine(
    actor: Actor,
    engine: Engine,
    *,
    config: Mapping[str, Any] | None = None,
    expected_version: int | None = None,
    **fields: Any,
) -> Engine:
    """Changes what is given. A secret left out, or empty, stays as it is; None removes it."""
    require(actor, Action.MANAGE_ENGINES, engine)
    news = _fields(fields)
    with transaction.atomic():
        # Whatever was written since the caller read the row, by people or by the reconciler, stays.
        Engine.objects.select_for_update().get(pk=engine.pk)
        engine.refresh_from_db()
        if expected_version is not None and expected_version != engine.version:
            raise Stale("Somebody changed this engine meanwhile. Look again.", engine)
        for name, value in news.items():
            setattr(engine, name, value)
        if config is not None:
            _configure(engine, config, keep=engine.kept_secrets)
            engine.health, engine.health_message = HealthState.UNKNOWN, ""
            engine.failures, engine.breaker_until, engine.cursor = 0, None, ""
        engine.version += 1
        _save(engine)
        audit.record(actor, "edit", engine, changed=sorted([*fields, *(config or {})]))
        if engine.enabled:
            request_engine_job(actor, engine, EngineJob.Action.TEST)
    return engine


def delete_engine(actor: Actor, engine: Engine) -> None:
    """Removes an engine that nothing refers to; one with history is disabled instead."""
    require(actor, Action.MANAGE_ENGINES, engine)
    if WorkflowRun.objects.filter(engine=engine).exists():
        raise Conflict("It has runs, which need it for their history. Disable it instead.", engine)
    with transaction.atomic():
        audit.record(actor, "delete", engine)
        try:
            engine.delete()
        except ProtectedError:
            raise Conflict("Workflows are pinned to it. Disable it instead.", engine) from None


def request_engine_job(actor: Actor, engine: Engine, action: EngineJob.Action) -> EngineJob:
    """Asks the reconciler to test, sync or import; an equal job that waits already is returned.
    Raises Conflict with the reason where the engine can't."""
    require(actor, Action.ASK_ENGINE, engine)
    needed = CAPABILITY_OF.get(action)
    if needed and (answer := engine.can(needed)) is not True:
        raise Conflict(f"The engine {engine.name} can't do this: {answer}", engine)
    waiting = EngineJob.objects.filter(
        engine=engine, action=action, state=EngineJob.State.WAITING
    ).first()
    if waiting:
        return waiting
    with transaction.atomic():
        job = EngineJob.objects.create(
            engine=engine, kind=engine.kind, action=action, requested_by=_user(actor)
        )
        wake_reconciler()
    return job


def request_engine_test(actor: Actor, *, kind: str, config: Mapping[str, Any]) -> EngineJob:
    """Asks the reconciler whether settings that are not saved yet would work."""
    require(actor, Action.MANAGE_ENGINES)
    probe = Engine(name="new-engine", kind=kind)
    _configure(probe, config, keep={})
    with transaction.atomic():
        job = EngineJob.objects.create(
            kind=kind,
            action=EngineJob.Action.TEST,
            config=probe.config,
            encrypted_secrets=probe.encrypted_secrets,
            requested_by=_user(actor),
        )
        wake_reconciler()
    return job


def _fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(fields) - set(EDITABLE))
    if unknown:
        raise Invalid(dict.fromkeys(unknown, "can't be set."))
    try:
        parse_selector(fields.get("selector") or "")
    except SelectorError as error:
        raise Invalid({"selector": str(error)}) from None
    return dict(fields)


def _configure(engine: Engine, values: Mapping[str, Any], *, keep: Mapping[str, str]) -> None:
    try:
        fields = adapter_class(engine.kind).fields
    except UnknownKind as error:
        raise Invalid({"kind": str(error)}) from None
    secret = {field.name for field in fields if field.secret}
    kept = {name: value for name, value in keep.items() if values.get(name, "") == ""}
    try:
        clean = clean_config(fields, {**values, **kept})
    except ConfigError as error:
        raise Invalid({f"config.{name}": text for name, text in error.errors.items()}) from None
    engine.config = {name: value for name, value in clean.items() if name not in secret}
    engine.secrets = {name: clean[name] for name in secret if clean.get(name)}


def _save(engine: Engine) -> None:
    try:
        engine.full_clean()
    except ValidationError as error:
        raise Invalid(
            {name: " ".join(texts) for name, texts in error.message_dict.items()}
        ) from None
    engine.save()


def _user(actor: Actor) -> Any:
    return actor.user if actor.user and actor.user.pk else None
