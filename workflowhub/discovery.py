"""Finds what a folder adds to the hub by being there: engine kinds, their Django apps and URLs.

An adapter package is a Python package whose folders are engine kinds: `engines.adapters`, and
those that the setting WORKFLOWHUB_ADAPTER_PACKAGES names. Called from the settings, the URLconf and
the registry. Guarantees: reads folder names only and imports no adapter.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured


def adapter_packages() -> list[str]:
    extra = os.environ.get("WORKFLOWHUB_ADAPTER_PACKAGES", "")
    return ["engines.adapters", *(name.strip() for name in extra.split(",") if name.strip())]


def adapter_modules() -> dict[str, str]:
    """Engine kind -> dotted path of its package, one for each folder that holds an adapter.py."""
    found: dict[str, str] = {}
    for package in adapter_packages():
        for folder in _folders(package):
            for path in sorted(folder.glob("*/adapter.py")):
                kind = path.parent.name
                if kind in found:
                    raise ImproperlyConfigured(
                        f"Two engine adapters are called {kind!r}: "
                        f"{found[kind]} and {package}.{kind}."
                    )
                found[kind] = f"{package}.{kind}"
    return found


def adapter_apps() -> list[str]:
    """Dotted paths of the adapters that bring models or commands of their own (an apps.py)."""
    return [module for kind, module in adapter_modules().items() if _has(kind, module, "apps.py")]


def adapter_urlconfs() -> dict[str, str]:
    """Engine kind -> its URLconf, for each adapter that its engine calls back."""
    return {
        kind: f"{module}.urls"
        for kind, module in adapter_modules().items()
        if _has(kind, module, "urls.py")
    }


def load(dotted: str) -> object:
    """The object at `package.module.name` or `package.module:name`."""
    module, _, name = dotted.replace(":", ".").rpartition(".")
    return getattr(import_module(module), name)


def _folders(package: str) -> list[Path]:
    spec = find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ImproperlyConfigured(
            f"WORKFLOWHUB_ADAPTER_PACKAGES names {package!r}, which is not an importable package."
        )
    return [Path(location) for location in spec.submodule_search_locations]


def _has(kind: str, module: str, name: str) -> bool:
    return any((folder / kind / name).is_file() for folder in _folders(module.rpartition(".")[0]))
