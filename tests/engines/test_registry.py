"""Which engine kinds there are: folders, and nothing else."""

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError

from engines import registry
from engines.models import Engine
from engines.registry import BadAdapter, UnknownKind, load
from tests.adapters.remote.adapter import Adapter
from workflowhub.discovery import adapter_modules

GOOD = "from tests.adapters.remote.adapter import Adapter as Base\nclass Adapter(Base):\n    {}\n"


def write_adapter(folder: Path, text: str, package: str, kind: str = "extra") -> str:
    place = folder / package / kind
    place.mkdir(parents=True)
    (folder / package / "__init__.py").touch()
    (place / "__init__.py").touch()
    (place / "adapter.py").write_text(text)
    return f"{package}.{kind}"


@pytest.fixture
def fresh():
    """The registry looks at the folders again, before and after."""
    registry._found.cache_clear()
    yield
    registry._found.cache_clear()


def test_the_folders_name_is_the_kind() -> None:
    assert registry.adapter_class("remote") is Adapter
    assert ("remote", Adapter.label) in registry.kind_choices()
    assert registry.formats()["remote-json"] == ["remote"]


def test_an_unknown_kind_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(UnknownKind, match=r"'airfow'.*remote"):
        registry.adapter_class("airfow")


@pytest.mark.django_db
def test_an_engine_of_an_unknown_kind_is_invalid() -> None:
    with pytest.raises(ValidationError, match="airfow"):
        Engine(name="air", kind="airfow").full_clean()


@pytest.mark.parametrize(
    ("number", "text", "why"),
    [
        (1, "import no_such_module", "ModuleNotFoundError"),
        (2, "1 / 0", "ZeroDivisionError"),
        (3, "def (", "SyntaxError"),
        (4, "", "no class Adapter"),
        (5, "Adapter = 7", "no class Adapter"),
        (6, "class Adapter: pass", "no class Adapter"),
        (7, "from engines.base import EngineAdapter as Adapter", "lacks find, health"),
        (8, GOOD.format("submission = 'A'"), "submission"),
        (9, GOOD.format("formats = ()"), "formats"),
        (10, GOOD.format("label = ''"), "label"),
        (11, GOOD.format("capabilities = {'fly': True}"), "fly"),
    ],
)
def test_a_broken_adapter_says_what_is_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, text: str, why: str
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(BadAdapter, match=why):
        load(write_adapter(tmp_path, text, f"broken{number}"))


def test_a_broken_adapter_takes_no_other_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write_adapter(tmp_path, "1 / 0", "morebroken")
    monkeypatch.setenv("WORKFLOWHUB_ADAPTER_PACKAGES", "tests.adapters,morebroken")
    assert "extra" not in registry.adapters()
    assert registry.adapter_class("remote")
    assert "ZeroDivisionError" in registry.broken()["extra"]
    with pytest.raises(UnknownKind, match="ZeroDivisionError"):
        registry.adapter_class("extra")


def test_two_folders_of_one_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write_adapter(tmp_path, "", "doubled", kind="remote")
    monkeypatch.setenv("WORKFLOWHUB_ADAPTER_PACKAGES", "tests.adapters,doubled")
    with pytest.raises(ImproperlyConfigured, match=r"tests.adapters.remote and doubled.remote"):
        adapter_modules()


def test_a_package_that_isnt_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKFLOWHUB_ADAPTER_PACKAGES", "no_such_package")
    with pytest.raises(ImproperlyConfigured, match="no_such_package"):
        adapter_modules()
