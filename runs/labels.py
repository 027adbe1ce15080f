"""Labels as people give them -> rows. Lists of {key, value} and objects {key: value} are both taken."""

from collections.abc import Collection, Iterable, Mapping
from functools import reduce
from operator import or_
from typing import Any

from django.db.models import Model, Q

from engines.selectors import LABEL_KEY
from runs.errors import Invalid
from runs.models import Label, RunLabel

MAX_LABELS = 100
MAX_LENGTH = 200


def clean_labels(given: Any) -> dict[str, str]:
    """Key -> value. Raises Invalid naming the label that is wrong."""
    if not given:
        return {}
    pairs = _pairs(given)
    if len(pairs) > MAX_LABELS:
        raise Invalid({"labels": f"At most {MAX_LABELS} labels, not {len(pairs)}."})
    labels: dict[str, str] = {}
    for at, (key, value) in enumerate(pairs):
        field = f"labels[{at}]"
        if not isinstance(key, str) or not LABEL_KEY.match(key) or len(key) > MAX_LENGTH:
            raise Invalid(
                {
                    field: f"{str(key)[:50]!r} is no label key: letters, digits, inner . _ - and one /."
                }
            )
        if not isinstance(value, str) or len(value) > MAX_LENGTH or "\x00" in value:
            raise Invalid(
                {field: f"The value of {key} must be a text of up to {MAX_LENGTH} characters."}
            )
        if key in labels:
            raise Invalid({field: f"The key {key} is given twice."})
        labels[key] = value
    return labels


def label_rows(labels: Mapping[str, str]) -> list[Label]:
    """The Label row of each pair, made where it is new; safe when two do it at once."""
    found = _known(labels)
    known = {label.key for label in found}
    new = {key: value for key, value in labels.items() if key not in known}
    if new:
        rows = [Label(key=key, value=value) for key, value in sorted(new.items())]
        Label.objects.bulk_create(rows, ignore_conflicts=True)
        found += _known(new)
    return sorted(found, key=lambda label: label.key)


def _known(labels: Mapping[str, str]) -> list[Label]:
    """Those of the pairs that have a row. By pair: a key may have a million values."""
    pairs = [Q(key=key, value=value) for key, value in labels.items()]
    return list(Label.objects.filter(reduce(or_, pairs)).order_by()) if pairs else []


def set_labels(obj: Any, labels: Mapping[str, str]) -> None:
    """Makes these the labels of a workflow or run, and no others."""
    obj.labels.set(label_rows(labels))


def add_labels(obj: Any, labels: Mapping[str, str]) -> None:
    """The labels of an object that was made a moment ago; it has them at hand from then on."""
    rows = label_rows(labels)
    through = obj.labels.through
    owner = obj.labels.source_field_name
    through.objects.bulk_create(through(**{owner: obj}, label=label) for label in rows)
    prefetched = obj.labels.all()
    prefetched._result_cache = rows
    prefetched._prefetch_done = True
    obj._prefetched_objects_cache = {"labels": prefetched}


def labels_of(obj: Any) -> dict[str, str]:
    """Key -> value; uses prefetched labels where there are any."""
    return {label.key: label.value for label in _rows(obj)}


def labels_by_run(run_ids: Collection[int]) -> dict[int, dict[str, str]]:
    """Run key -> its labels, for many runs in one statement."""
    found: dict[int, dict[str, str]] = {}
    links = RunLabel.objects.filter(run_id__in=run_ids).values_list(
        "run_id", "label__key", "label__value"
    )
    for run_id, key, value in links:
        found.setdefault(run_id, {})[key] = value
    return found


def _rows(obj: Model) -> Iterable[Label]:
    rows: Iterable[Label] = obj.labels.all()  # type: ignore[attr-defined]
    return rows


def _pairs(given: Any) -> list[tuple[Any, Any]]:
    if isinstance(given, Mapping):
        return list(given.items())
    if not isinstance(given, (list, tuple)):
        raise Invalid({"labels": "Give a list of {key, value} or an object {key: value}."})
    pairs = []
    for at, item in enumerate(given):
        if not isinstance(item, Mapping) or set(item) - {"key", "value"} or "key" not in item:
            raise Invalid({f"labels[{at}]": "Give an object with key and value."})
        pairs.append((item["key"], item.get("value", "")))
    return pairs
