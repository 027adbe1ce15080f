"""The secrets of an execution: kept encrypted for as long as something of it may run, told to whoever
runs a step that names them, and to nobody else."""

import json
from collections.abc import Mapping
from dataclasses import replace

from engines.dag.definitions import Plan
from engines.dag.models import Execution
from engines.dag.templating import Scope, TemplateError
from engines.secrets import MASK, UnreadableSecret, decrypt, encrypt


def seal(values: Mapping[str, str]) -> str:
    """What an execution's row keeps of them."""
    return encrypt(json.dumps(dict(values))) if values else ""


def secrets_for(plan: Plan, step: str) -> dict[str, str]:
    """Those that the arguments of a step or a hook name, without a question to the database where it
    names none. Raises TemplateError."""
    names = plan.definition.secrets.get(step)
    if not names:
        return {}
    sealed = Execution.objects.values_list("secrets", flat=True).get(pk=plan.id)
    try:
        values: dict[str, str] = json.loads(decrypt(sealed)) if sealed else {}
    except UnreadableSecret as error:
        raise TemplateError(f"Its secrets can't be read. {error}") from None
    return {name: values[name] for name in names if name in values}


def masked(scope: Scope) -> Scope:
    """The same for people: every secret is the mask."""
    return replace(scope, secrets=dict.fromkeys(scope.secrets, MASK))
