"""Labels as the API shows them: a list of {key, value}, by key."""

from typing import Any

from rest_framework import serializers

from runs.labels import labels_of


class LabelShape(serializers.Serializer[Any]):
    key = serializers.CharField()
    value = serializers.CharField(allow_blank=True)


def show_labels(obj: Any) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in sorted(labels_of(obj).items())]
