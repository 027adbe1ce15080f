"""A home of a test's own, with keys, logs and files apart from those of all other tests."""

from pathlib import Path
from typing import Any


def own_home(settings: Any, folder: Path) -> Path:
    """The home; the settings lead there until the end of the test."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    (home / "secret_key").write_text(settings.SECRET_KEY)
    (home / "secret_keys").write_text(settings.WORKFLOWHUB_SECRET_KEYS[0])
    for key in ("secret_key", "secret_keys"):
        (home / key).chmod(0o600)
    settings.WORKFLOWHUB_HOME = home
    storages = dict(settings.STORAGES)
    for name in ("logs", "work"):
        storages[name] = {
            **storages[name],
            "OPTIONS": {**storages[name]["OPTIONS"], "location": home / name},
        }
    settings.STORAGES = storages
    return home
