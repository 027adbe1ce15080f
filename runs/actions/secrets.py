"""Secrets and variables: set, changed, deleted. The value of a secret goes in and never comes out; the
audit log says that it changed, and not what it is."""

from typing import Any, TypeVar

from django.db import IntegrityError, transaction
from django.db.models import F
from django.utils import timezone

from engines.secrets import encrypt
from runs import audit
from runs.errors import Conflict, Denied, Invalid, Stale
from runs.models import Secret, Variable, Workflow
from runs.named import NAME
from runs.policy import Action, Actor, allow, require, visible

# What is shorter would be masked in harmless texts as well, and guessed from where the mask stands.
SHORTEST_SECRET = 6
LONGEST_SECRET = 16_384
LONGEST_VARIABLE = 65_536
LONGEST_DESCRIPTION = 1000

Stored = TypeVar("Stored", bound=Secret | Variable)


def set_secret(
    actor: Actor, *, name: str, value: str, workflow: str = "", description: str | None = None
) -> tuple[Secret, bool]:
    """Makes the secret, or replaces its value (False). `workflow`: the title of the one that alone
    sees it; without it all do. Of two at once the last one counts."""
    return _set(actor, Secret(name=name, workflow=workflow), value, description)


def set_variable(
    actor: Actor, *, name: str, value: str, workflow: str = "", description: str | None = None
) -> tuple[Variable, bool]:
    """The same for a variable, whose value everybody sees."""
    return _set(actor, Variable(name=name, workflow=workflow), value, description)


def edit_stored(
    actor: Actor,
    stored: Stored,
    *,
    value: str | None = None,
    description: str | None = None,
    expected_version: int | None = None,
) -> Stored:
    """Changes what is given of a secret or a variable."""
    _require(actor, stored)
    news: dict[str, Any] = {}
    if value is not None:
        news |= _column(stored, value)
    if description is not None:
        news["description"] = _description(description)
    changed = sorted({"value" if name == "encrypted" else name for name in news})
    with transaction.atomic():
        _lock(stored, expected_version)
        if news:
            _update(actor, type(stored)._default_manager.filter(pk=stored.pk), news)
            audit.record(actor, "edit", stored, changed=changed)
    stored.refresh_from_db()
    return stored


def delete_stored(
    actor: Actor, stored: Secret | Variable, *, expected_version: int | None = None
) -> None:
    """Removes a secret or a variable: runs that need it can't start any more. Twice is fine."""
    _require(actor, stored)
    with transaction.atomic():
        if expected_version is not None:
            _lock(stored, expected_version)
        if type(stored)._default_manager.filter(pk=stored.pk).delete()[0]:
            audit.record(actor, "delete", stored)


def _lock(stored: Secret | Variable, expected: int | None) -> None:
    """Locks the row. Raises Conflict where it is gone, Stale where it isn't the expected version."""
    rows: Any = type(stored)._default_manager
    now = rows.select_for_update(no_key=True).filter(pk=stored.pk).first()
    if now is None:
        raise Conflict("Somebody deleted it meanwhile.")
    if expected is not None and expected != now.version:
        raise Stale("Somebody changed it meanwhile. Look again, then decide.", now)


def _update(actor: Actor, rows: Any, news: dict[str, Any]) -> bool:
    return bool(
        rows.update(
            **news,
            updated_at=timezone.now(),
            updated_by=_user(actor),
            version=F("version") + 1,
        )
    )


def _set(actor: Actor, row: Stored, value: str, description: str | None) -> tuple[Stored, bool]:
    _require(actor, row)
    _check_place(actor, row)
    news: dict[str, Any] = _column(row, value)
    if description is not None:
        news["description"] = _description(description)
    rows: Any = type(row)._default_manager
    place = rows.filter(workflow=row.workflow, name=row.name)
    with transaction.atomic():
        new = False
        while not new and not _update(actor, place, news):
            for column, content in news.items():
                setattr(row, column, content)
            row.updated_by = _user(actor)
            try:
                with transaction.atomic():
                    row.save(force_insert=True)
                new = True
            except IntegrityError:
                row.pk = None  # somebody made it at the same moment: theirs is replaced
        stored: Stored = place.select_related("updated_by").get()
        audit.record(actor, "create" if new else "replace", stored)
    return stored, new


def _require(actor: Actor, row: Secret | Variable) -> None:
    if (
        not row.workflow
        and allow(actor, Action.MANAGE_SECRETS)
        and not allow(actor, Action.MANAGE_SECRETS, row)
    ):
        raise Denied(
            "What all workflows see is for administrators to set: name a workflow, or ask one."
        )
    require(actor, Action.MANAGE_SECRETS, row)


def _check_place(actor: Actor, row: Secret | Variable) -> None:
    """Raises Invalid for a name that no reference could spell, and for a workflow that isn't there."""
    errors = {}
    if not NAME.fullmatch(row.name):
        errors["name"] = "A name has 1 to 100 letters, digits, _ and -."
    if row.workflow:
        known = Workflow.objects.filter(title=row.workflow) if "\x00" not in row.workflow else None
        if known is None or not visible(actor, known).exists():
            errors["workflow"] = "There is no workflow of this title, or you may not see it."
    if errors:
        raise Invalid(errors)


def _column(row: Secret | Variable, value: str) -> dict[str, str]:
    """Where the value is kept, checked."""
    secret = isinstance(row, Secret)
    most = LONGEST_SECRET if secret else LONGEST_VARIABLE
    problem = ""
    if not isinstance(value, str) or "\x00" in value or not _whole(value):
        problem = "must be a text, without NUL characters."
    elif secret and len(value.strip()) < SHORTEST_SECRET:
        problem = (
            f"A secret has at least {SHORTEST_SECRET} characters: a shorter one could not be masked "
            "without hiding harmless texts too."
        )
    elif len(value) > most:
        problem = f"has {len(value):,} characters; the most is {most:,}."
    if problem:
        raise Invalid({"value": problem})
    return {"encrypted": encrypt(value)} if secret else {"value": value}


def _whole(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _description(text: str) -> str:
    if "\x00" in text or not _whole(text) or len(text) > LONGEST_DESCRIPTION:
        raise Invalid(
            {"description": f"must be a text of at most {LONGEST_DESCRIPTION} characters."}
        )
    return text


def _user(actor: Actor) -> Any:
    return actor.user if actor.user and actor.user.pk else None
