"""What belongs to a hub: its tables and its files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.core.files.storage import FileSystemStorage, storages
from django.db.models import Model

# Nothing of these outlives a restore: log-ins, the doorbell's own, who lives and who holds what.
LEFT_OUT = {"sessions.session", "runs.lease", "runs.heartbeat", "engines.hint"}
LEFT_OUT_APPS = {"django_q"}
# Key file in the home -> the variable that is used instead where it is set.
KEYS = {"secret_key": "WORKFLOWHUB_SECRET_KEY", "secret_keys": "WORKFLOWHUB_SECRET_KEYS"}


@dataclass(frozen=True, slots=True)
class Folder:
    """Files of a hub: under which name in a backup, and where."""

    name: str
    path: Path


def models() -> list[type[Model]]:
    """The tables of a backup, by name."""
    found = [
        model
        for model in apps.get_models(include_auto_created=True)
        if model._meta.managed
        and not model._meta.proxy
        and model._meta.label_lower not in LEFT_OUT
        and model._meta.app_label not in LEFT_OUT_APPS
    ]
    return sorted(found, key=lambda model: model._meta.db_table)


def folders() -> Iterator[Folder]:
    """The folders of logs and of steps' files, where they are folders."""
    for name in ("logs", "work"):
        storage = storages[name]
        if isinstance(storage, FileSystemStorage):
            yield Folder(name, Path(storage.location))


def key_file(name: str) -> Path:
    return Path(settings.WORKFLOWHUB_HOME) / name


def is_from_environment(name: str) -> bool:
    """Whether the hub has this key from its environment, and not from the file."""
    return bool(os.environ.get(KEYS[name], "").strip())
