"""What a posted workflow can reach on the machine that runs it, and who may post one that runs programs."""

import ast
import json
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as hub_settings
from django.contrib.auth.models import Permission
from django.core.exceptions import SuspiciousFileOperation
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from engines.dag import callables, logs
from engines.dag.callables import Permanent, UnknownCallable
from engines.dag.context import step_folder
from engines.dag.handlers import HANDLERS, shell
from engines.dag.handlers.python import call_app, call_python
from engines.testing.fake_http import FakeHttpEngine
from runs import actions
from runs.errors import Denied, Invalid
from runs.models import Workflow
from runs.models.access import Role
from tests.factories import make_actor, make_engine

SOURCE = Path(__file__).resolve().parents[2]
SHELL = {"name": "a", "handler": "shell", "with": {"argv": ["id"]}}


def definition(*steps: Any, **more: Any) -> dict[str, Any]:
    return {"title": "posted", "steps": list(steps), **more}


class Run:
    uuid = "u"


class Context:
    run = Run()
    step = "a"
    try_number = 1
    map_index = -1

    def __init__(self, folder: Path) -> None:
        self.output_dir = folder


# What a step of ours sees


def test_a_program_gets_nothing_of_the_hub_s_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "WORKFLOWHUB_SECRET_KEY", "WORKFLOWHUB_SECRET_KEYS", "DATABASE_URL", "SECRET_KEY",
        "WORKFLOWHUB_HOME", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "PYTHONPATH", "LD_PRELOAD",
        "HTTPS_PROXY", "SSH_AUTH_SOCK", "DJANGO_SETTINGS_MODULE",
    ):  # fmt: skip
        monkeypatch.setenv(name, "canary-environment")
    own = shell._environment({"MINE": "1"}, Context(tmp_path), tmp_path)
    assert "canary-environment" not in own.values()
    ours = {"HOME", "WORKFLOWHUB_RUN_UUID", "WORKFLOWHUB_STEP", "WORKFLOWHUB_TRY", "MINE"}
    assert set(own) <= {*ours, *shell.PASSED_ON, "WORKFLOWHUB_WORKER_ID"}


@pytest.mark.parametrize("cwd", ["..", "/etc", "a/../../b", "../" * 20 + "etc", "link"])
def test_a_program_runs_in_its_own_folder(tmp_path: Path, cwd: str) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "link").symlink_to("/etc")
    with pytest.raises(Permanent, match="inside"):
        shell._folder(own, cwd)


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../x", "/etc", "a\x00", "", "a\nb", "-\u202e"])
def test_no_name_leads_out_of_the_folders(name: str) -> None:
    with pytest.raises(ValueError):
        step_folder("wh-1", name, -1)
    with pytest.raises(ValueError):
        step_folder(name, "step", -1)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../../x"])
def test_no_log_is_written_or_read_outside(name: str) -> None:
    with pytest.raises(SuspiciousFileOperation):
        logs.path_of(name)
    assert logs.append(name, b"x") is False
    assert logs.open_log(name) is None
    with pytest.raises(SuspiciousFileOperation):
        storages["logs"].open(name)


# Who may read the files


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_others_on_the_machine_read_neither_keys_nor_logs() -> None:
    before = os.umask(0o022)
    try:
        assert logs.append("wh-modes/a/-1/1.1.log", b"x")
        saved = storages["logs"].save("wh-modes/b.log", ContentFile(b"x"))
    finally:
        os.umask(before)
    home = Path(hub_settings.WORKFLOWHUB_HOME)
    assert mode(home) == 0o700
    for name in ("secret_key", "secret_keys"):
        if (home / name).exists():
            assert mode(home / name) == 0o600
    for name in ("wh-modes/a/-1/1.1.log", saved):
        assert mode(Path(logs.path_of(name))) & 0o007 == 0


# Nothing posted is imported or evaluated


def test_nothing_in_the_hub_evaluates_text() -> None:
    """`import_module` and friends are called with the operator's names only, in these places."""
    importing = {
        "engines/apps.py",
        "workflowhub/apps.py",
        "engines/dag/callables.py",
        "workflowhub/discovery.py",
        "engines/registry.py",
    }
    forbidden = {"eval", "exec", "compile", "__import__", "execfile"}
    dangerous = {("yaml", "load"), ("yaml", "unsafe_load"), ("yaml", "full_load"), ("os", "system")}
    dangerous |= {("pickle", "loads"), ("pickle", "load"), ("marshal", "loads"), ("os", "popen")}
    found = []
    for folder in ("engines", "runs", "workflowhub"):
        for path in (SOURCE / folder).rglob("*.py"):
            place = str(path.relative_to(SOURCE))
            if "/tests/" in place or "/testing/" in place or "/migrations/" in place:
                continue
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.keyword) and node.arg == "shell":
                    found.append((place, "shell="))
                if not isinstance(node, ast.Call):
                    continue
                called = node.func
                if isinstance(called, ast.Name) and called.id in forbidden:
                    found.append((place, called.id))
                if isinstance(called, ast.Name) and called.id in {"import_module", "import_string"}:
                    found += [(place, called.id)] * (place not in importing)
                if isinstance(called, ast.Name) and called.id == "mark_safe":
                    found.append((place, "mark_safe"))
                if isinstance(called, ast.Attribute):
                    of = called.value.id if isinstance(called.value, ast.Name) else ""
                    found += [(place, called.attr)] * ((of, called.attr) in dangerous)
    assert found == []
    unsafe = [
        str(path.relative_to(SOURCE))
        for path in (SOURCE / "templates").rglob("*.html")
        if "|safe" in path.read_text() or "autoescape off" in path.read_text()
    ]
    assert unsafe == []


@pytest.mark.parametrize(
    "name",
    ["os.system", "builtins.eval", "subprocess:run", "engines.dag.callables.find", "__import__",
     "examples.handlers", "../x", ""],
)  # fmt: skip
def test_only_registered_functions_are_called(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnknownCallable):
        callables.find(name)
    with pytest.raises(Permanent):
        call_python({"callable": name}, Context(tmp_path))
    with pytest.raises(Permanent):
        call_app({"app": name}, Context(tmp_path))


EXPRESSIONS = [
    "${params.__class__}", "${params.x.__class__.__mro__}", "${__import__('os')}",
    "${steps.a.result.__globals__}", "${().__class__}", "${open('/etc/passwd')}", "${env.HOME}",
    "${settings.SECRET_KEY}", "{{ settings.SECRET_KEY }}", "${params['__class__']}", "${os.environ}",
]  # fmt: skip


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_a_template_reaches_no_attribute_of_an_object(text: str) -> None:
    """It is refused, or it stays the text that it is."""
    step = {"name": "a", "handler": "output", "with": {"x": text}, "when": text}
    _, found = actions.read_definition(definition(step), form="workflowhub")
    plain = {"name": "a", "handler": "output", "with": {"x": text}}
    _, plainly = actions.read_definition(definition(plain), form="workflowhub")
    assert found.problems
    assert plainly.problems or "${" not in text or text.startswith("${params.")


@pytest.mark.parametrize(
    "handler", ["eval", "os.system", "Shell", "shell ", "${params.h}", "../shell", "__init__"]
)
def test_no_definition_names_another_handler(handler: str) -> None:
    step = {"name": "a", "handler": handler, "with": {"argv": ["id"]}}
    _, found = actions.read_definition(definition(step), form="workflowhub")
    assert found.problems
    assert set(HANDLERS) == {"python", "app", "shell", "http", "input", "output", "sleep"}


# Who may post what runs programs


@pytest.mark.django_db
@pytest.mark.parametrize("form", ["", "workflowhub"])
def test_an_editor_posts_no_shell_step_whatever_the_shape(form: str) -> None:
    make_engine()
    editor = make_actor(Role.EDITOR)
    shapes = [
        definition(SHELL),
        json.dumps(definition(SHELL)),
        definition({"name": "b", "handler": "sleep", "with": {"seconds": 0}}, SHELL),
        definition({**SHELL, "foreach": [1, 2]}),
        definition({**SHELL, "when": "1 == 2"}),
        "title: posted\nsteps:\n  - &s {name: a, handler: shell, with: {argv: [id]}}\n",
        "title: posted\nx: &h shell\nsteps:\n  - {name: a, handler: *h, with: {argv: [id]}}\n",
        'title: posted\nsteps: [{name: a, "handler": "\\x73hell", with: {argv: [id]}}]\n',
        "title: posted\nsteps: [{name: a, handler: !!str shell, with: {argv: [id]}}]\n",
    ]
    for shape in shapes:
        with pytest.raises((Denied, Invalid)):
            actions.post_workflow(editor, definition=shape, form=form)
    assert not Workflow.objects.exists()


@pytest.mark.django_db
def test_an_editor_makes_no_new_version_of_a_shell_workflow() -> None:
    make_engine()
    admin, editor = make_actor(), make_actor(Role.EDITOR)
    actions.post_workflow(admin, definition=definition(SHELL))
    for argv in (["id"], ["sh", "-c", "id"]):
        changed = definition({**SHELL, "with": {"argv": argv}})
        with pytest.raises(Denied):
            actions.post_workflow(editor, definition=changed)
    assert Workflow.objects.count() == 1
    editor.user.user_permissions.add(Permission.objects.get(codename="post_shell"))
    fresh = make_actor(Role.EDITOR)
    capped = type(fresh)(user=admin.user, cap=Role.EDITOR)
    with pytest.raises(Denied):  # an administrator's token for editors
        actions.post_workflow(capped, definition=definition(SHELL, description="x"))


def test_a_step_calls_the_hub_itself_only_where_that_is_allowed(settings: Any) -> None:
    """And then with no more rights than the token that it was given."""
    settings.WORKFLOWHUB_HTTP_ALLOW = []
    with FakeHttpEngine() as fake, pytest.raises(Permanent, match="HTTP_ALLOW"):
        HANDLERS["http"]({"url": fake.url, "method": "POST"}, Context(Path(".")))
