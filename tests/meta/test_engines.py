"""Every engine kind is one folder that is documented and passes the contract, and needs no
migration.
"""

import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from django.conf import settings

from engines.base import EngineAdapter
from engines.testing.contract import EngineContract
from workflowhub.discovery import adapter_modules

ROOT = Path(settings.BASE_DIR)
REMOTE = ROOT / "tests" / "adapters" / "remote"


def folder_of(module: str) -> Path:
    return Path(str(import_module(module).__file__)).parent


def lacks_of(module: str) -> list[str]:
    """What the adapter package `module` lacks of what each has."""
    folder = folder_of(module)
    lacks = []
    adapter = getattr(import_module(f"{module}.adapter"), "Adapter", None)
    if not (isinstance(adapter, type) and issubclass(adapter, EngineAdapter)):
        lacks.append("adapter.py with a class Adapter")
    if not (folder / "README.md").is_file() or not (folder / "README.md").read_text().strip():
        lacks.append("README.md")
    if not (folder / "tests" / "test_contract.py").is_file():
        return [*lacks, "tests/test_contract.py"]
    tests = vars(import_module(f"{module}.tests.test_contract")).items()
    if not any(
        name.startswith("Test") and isinstance(value, type) and issubclass(value, EngineContract)
        for name, value in tests
    ):
        lacks.append("a Test class in tests/test_contract.py that is an EngineContract")
    return lacks


@pytest.mark.parametrize("kind", sorted(adapter_modules()))
def test_every_engine_has_a_readme_and_passes_the_contract(kind: str) -> None:
    assert lacks_of(adapter_modules()[kind]) == []


def copy_remote(folder: Path, package: str, kind: str = "copied") -> str:
    """A package on sys.path whose folder `kind` is a copy of the remote kind."""
    shutil.copytree(REMOTE, folder / package / kind, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / package / "__init__.py").touch()
    return f"{package}.{kind}"


def test_a_complete_folder_lacks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    assert lacks_of(copy_remote(tmp_path, "whole")) == []


@pytest.mark.parametrize(
    ("package", "path", "text", "lack"),
    [
        ("lacks_readme", "README.md", None, "README.md"),
        ("lacks_words", "README.md", "\n", "README.md"),
        ("lacks_test", "tests/test_contract.py", None, "tests/test_contract.py"),
        (
            "lacks_contract",
            "tests/test_contract.py",
            "from engines.testing.contract import EngineContract\nclass TestContract: pass\n",
            "a Test class in tests/test_contract.py that is an EngineContract",
        ),
        ("lacks_class", "adapter.py", "", "adapter.py with a class Adapter"),
    ],
)
def test_a_folder_that_lacks_something_is_noticed(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    package: str,
    path: str,
    text: str | None,
    lack: str,
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    module = copy_remote(tmp_path, package)
    changed = tmp_path / package / "copied" / path
    if text is None:
        changed.unlink()
    else:
        changed.write_text(text)
    assert lacks_of(module) == [lack]


def run_hub(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A process that has the packages in `folder` beside the hub's, and a home of its own."""
    home = folder / "home"
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ
        | {
            "DATABASE_URL": f"sqlite:///{folder / 'hub.sqlite3'}",
            "PYTHONPATH": str(folder),
            "WORKFLOWHUB_ADAPTER_PACKAGES": "tests.adapters,more_engines",
            "WORKFLOWHUB_HOME": str(home),
            "DJANGO_SETTINGS_MODULE": "workflowhub.settings",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_a_new_kind_is_one_folder_and_needs_no_migration(tmp_path: Path) -> None:
    copy_remote(tmp_path, "more_engines", kind="brandnew")
    (tmp_path / "home").mkdir()
    migrations = run_hub(tmp_path, "manage.py", "makemigrations", "--check", "--dry-run")
    assert migrations.returncode == 0, migrations.stdout + migrations.stderr
    assert "No changes detected" in migrations.stdout
    code = (
        "import django; django.setup()\n"
        "from engines.connect import connect\n"
        "from engines.models import Engine\n"
        "engine = Engine(name='new', kind='brandnew', config={'url': 'http://127.0.0.1:1'})\n"
        "engine.full_clean(validate_unique=False)\n"
        "print(type(connect(engine)).__module__, engine.get_kind_display())\n"
    )
    accepted = run_hub(tmp_path, "-c", code)
    assert accepted.stdout.strip() == "more_engines.brandnew.adapter Remote (tests)", (
        accepted.stderr
    )


def test_a_cannot_that_names_no_test_is_refused() -> None:
    with pytest.raises(TypeError, match="test_that_flies"):
        type("Contract", (EngineContract,), {"cannot": {"test_that_flies": "It has no wings."}})


def test_a_hook_that_is_missing_fails_and_says_what_to_do() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"'make_adapter'.*`cannot`"):
        EngineContract().make_adapter()
