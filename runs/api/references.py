"""Objects that a body names: a workflow by id or title, an engine by name or id. What the caller may
not see is as unknown to them as what doesn't exist."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from engines.models import Engine
from runs.api.fields import Id, Strict, Text
from runs.api.parsers import MAX_INTEGER
from runs.errors import Invalid
from runs.models import Workflow
from runs.policy import Actor, visible


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "minLength": 1, "maxLength": 63},
            {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER},
        ],
        "description": "The engine's name or id.",
    }
)
class EngineName(serializers.Field[Any, Any, Any, Any]):
    def to_internal_value(self, data: Any) -> str | int:
        fits = (isinstance(data, str) and data and "\x00" not in data) or (
            type(data) is int and 1 <= data <= MAX_INTEGER
        )
        if not fits:
            raise serializers.ValidationError("Give the engine's name or id.")
        return data  # type: ignore[no-any-return]


class TitleAndVersion(Strict):
    title = Text(max_length=200)
    version = Id(required=False)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER},
            {
                "type": "object",
                "properties": {
                    "title": {"type": "string", "minLength": 1, "maxLength": 200},
                    "version": {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER},
                },
                "required": ["title"],
                "additionalProperties": False,
            },
        ],
        "description": "The workflow's id, or its title; without a version the newest.",
    }
)
class WorkflowName(serializers.Field[Any, Any, Any, Any]):
    def to_internal_value(self, data: Any) -> Any:
        if type(data) is int and 1 <= data <= MAX_INTEGER:
            return data
        if not isinstance(data, dict):
            raise serializers.ValidationError("Give the workflow's id, or {title, version}.")
        named = TitleAndVersion(data=data)
        named.is_valid(raise_exception=True)
        return named.validated_data


def find_engine(actor: Actor, name: str | int | None) -> Engine | None:
    """Raises Invalid for one that isn't there."""
    if name is None:
        return None
    engines = visible(actor, Engine.objects.all())
    found = engines.filter(pk=name) if isinstance(name, int) else engines.filter(name=name)
    engine = found.first()
    if engine is None:
        raise Invalid({"engine": f"There is no engine {name!r}."})
    return engine


def find_workflow(actor: Actor, name: Any) -> Workflow:
    """The workflow with an id, or the version (newest: None) of a title. Raises Invalid."""
    workflows = visible(actor, Workflow.objects.select_related("engine"))
    if isinstance(name, int):
        found = workflows.filter(pk=name)
    elif "version" in name:
        found = workflows.filter(title=name["title"], version=name["version"])
    else:
        found = workflows.filter(title=name["title"], archived_at=None).order_by("-version")
    workflow = found.first()
    if workflow is None:
        which = name if isinstance(name, int) else f"{name['title']!r}"
        if not isinstance(name, int) and "version" in name:
            which = f"{which} of version {name['version']}"
        raise Invalid({"workflow": f"There is no workflow {which}, or you may not see it."})
    return workflow
