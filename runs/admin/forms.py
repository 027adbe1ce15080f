"""The forms of the admin's deeds: they read values; runs.actions decides whether they are right."""

from collections.abc import Mapping
from typing import Any

from django import forms

from engines.models import Engine
from engines.registry import formats, kind_choices
from runs import actions
from runs.errors import Invalid
from runs.labels import labels_of
from runs.models.access import Role
from runs.states import FINAL_RUN_STATES, FINAL_TASK_STATES, RunState, TaskState


class LabelsField(forms.CharField):
    """One key=value in each line."""

    widget = forms.Textarea(attrs={"rows": 3, "cols": 60})

    def __init__(self, **kw: Any) -> None:
        super().__init__(required=False, help_text="One key=value in each line.", **kw)

    def clean(self, value: Any) -> dict[str, str]:
        labels: dict[str, str] = {}
        for line in super().clean(value).splitlines():
            if not line.strip():
                continue
            key, mark, text = (part.strip() for part in line.partition("="))
            if not mark:
                raise forms.ValidationError(f"{line.strip()[:100]!r} is not key=value.")
            if key in labels:
                raise forms.ValidationError(f"The key {key} is given twice.")
            labels[key] = text
        return labels


class ObjectField(forms.JSONField):
    """A JSON object; nothing is an empty one."""

    widget = forms.Textarea(attrs={"rows": 8, "cols": 80, "spellcheck": "false"})

    def clean(self, value: Any) -> dict[str, Any]:
        found = super().clean(value)
        if found in (None, ""):
            return {}
        if not isinstance(found, dict):
            raise forms.ValidationError('Give a JSON object, such as {"name": "value"}.')
        return found


def engine_field(help_text: str) -> "forms.ModelChoiceField[Engine]":
    return forms.ModelChoiceField(
        Engine.objects.enabled(), required=False, help_text=help_text, empty_label="(by labels)"
    )


def _labels_text(obj: Any) -> str:
    return "\n".join(f"{key}={value}" for key, value in sorted(labels_of(obj).items()))


class PostForm(forms.Form):
    definition = forms.CharField(
        strip=False,
        widget=forms.Textarea(attrs={"rows": 24, "cols": 100, "spellcheck": "false"}),
        help_text="YAML or JSON. A new version is made, unless nothing changed.",
    )
    title = forms.CharField(required=False, help_text="Empty: the definition's own.")
    format = forms.ChoiceField(required=False, help_text="Empty: found out from the definition.")
    engine = engine_field("Pins the workflow to one engine.")
    labels = LabelsField()

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        choices: Any = [("", "(found out)"), *((name, name) for name in sorted(formats()))]
        self.fields["format"].choices = choices  # type: ignore[attr-defined]


class StartForm(forms.Form):
    parameters = ObjectField(required=False, help_text="A JSON object; defaults fill the gaps.")
    labels = LabelsField()
    engine = engine_field("Empty: the workflow's, else by labels.")
    hold = forms.BooleanField(required=False, help_text="Held until somebody starts it.")
    note = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 2, "cols": 60}))

    @staticmethod
    def initial_of(workflow: Any) -> dict[str, Any]:
        properties: Mapping[str, Any] = workflow.parameters_schema.get("properties", {})
        return {
            "parameters": {
                name: schema["default"]
                for name, schema in properties.items()
                if isinstance(schema, dict) and "default" in schema
            }
        }


class ParametersForm(forms.Form):
    parameters = ObjectField(
        required=False, help_text="A JSON object, merged over those that the run has."
    )

    @staticmethod
    def initial_of(run: Any) -> dict[str, Any]:
        return {"parameters": run.parameters}


class LengthField(forms.CharField):
    """A length of time, as definitions write it."""

    def clean(self, value: Any) -> Any:
        try:
            return actions.read_length(str(super().clean(value)))
        except Invalid as error:
            raise forms.ValidationError(list(error.errors.values())) from None


class WorkflowForm(forms.Form):
    labels = LabelsField()
    paused = forms.BooleanField(required=False, help_text="New runs wait, of all versions.")
    max_active_runs = forms.IntegerField(
        required=False, min_value=1, help_text="At a time, of all versions together."
    )
    run_timeout = LengthField(
        required=False,
        help_text="How long a run of any version may take, such as 90s, 30m or 1h30m.",
    )

    @staticmethod
    def initial_of(workflow: Any) -> dict[str, Any]:
        return {
            "labels": _labels_text(workflow),
            "paused": workflow.paused,
            "max_active_runs": workflow.max_active_runs,
            "run_timeout": actions.spelled_length(workflow.run_timeout),
        }


class RunForm(forms.Form):
    labels = LabelsField()
    note = forms.CharField(required=False, widget=forms.Textarea(attrs={"rows": 4, "cols": 60}))

    @staticmethod
    def initial_of(run: Any) -> dict[str, Any]:
        return {"labels": _labels_text(run), "note": run.note}


class MarkRunForm(forms.Form):
    state = forms.ChoiceField(
        choices=[(state.value, state.label) for state in RunState if state in FINAL_RUN_STATES]
    )
    note = forms.CharField(help_text="Why: it is kept in the history.")


class MarkTaskForm(MarkRunForm):
    state = forms.ChoiceField(
        choices=[(state.value, state.label) for state in TaskState if state in FINAL_TASK_STATES]
    )


class RetryTaskForm(forms.Form):
    downstream = forms.BooleanField(required=False, help_text="And everything that depends on it.")


class EngineForm(forms.Form):
    config = ObjectField(
        required=False,
        help_text="A JSON object of the kind's settings. Secrets are written, never shown: one "
        "left out stays as it is, null removes it.",
    )
    selector = forms.CharField(
        required=False, help_text="Labels of the runs that it takes, such as team=physics."
    )
    priority = forms.IntegerField(initial=100, help_text="The lowest number is asked first.")
    enabled = forms.BooleanField(required=False, initial=True)
    accepts_runs = forms.BooleanField(required=False, initial=True)

    @staticmethod
    def initial_of(engine: Any) -> dict[str, Any]:
        names = ("config", "selector", "priority", "enabled", "accepts_runs")
        return {name: getattr(engine, name) for name in names}


class NewEngineForm(EngineForm):
    name = forms.CharField(help_text="Small letters, digits and hyphens, such as airflow-prod.")
    kind = forms.ChoiceField(choices=lambda: list(kind_choices()))
    field_order: Any = ("name", "kind")


class TokenForm(forms.Form):
    user = forms.CharField(help_text="A user name.")
    role = forms.ChoiceField(
        required=False, choices=[("", "(the user's own)"), *Role.choices], help_text="At most."
    )
    name = forms.CharField(required=False, help_text="What it is for.")
    expires_at = forms.SplitDateTimeField(
        required=False,
        widget=forms.SplitDateTimeWidget(date_attrs={"type": "date"}, time_attrs={"type": "time"}),
        help_text="Empty: never.",
    )
