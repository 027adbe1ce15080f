"""What a step does to its folder leads nobody out of it: not the page, not the API, not cleanup."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from engines.dag import artifacts
from engines.dag.context import step_folder
from runs.models import TaskRun
from runs.retention import clean_up
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_user, make_workflow
from tests.runs.test_artifacts import execution_of

CANARY = "canary-outside"


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret_key").write_text(CANARY)
    return folder


@pytest.fixture
def task(db: None, settings: Any, tmp_path: Path) -> TaskRun:
    alias = {**settings.STORAGES["work"], "OPTIONS": {"location": tmp_path / "work"}}
    settings.STORAGES = {**settings.STORAGES, "work": alias}
    run = make_run(make_workflow({"a": []}), engine=make_engine(), state="RUNNING")
    execution_of(run)
    return run.task_runs.get()


def own(task: TaskRun) -> Path:
    return step_folder(task.run.external_id, "a", -1)


def make_own(task: TaskRun) -> Path:
    own(task).mkdir(parents=True)
    return own(task)


def link_file(task: TaskRun, outside: Path) -> None:
    (make_own(task) / "secret_key").symlink_to(outside / "secret_key")


def link_folder(task: TaskRun, outside: Path) -> None:
    (make_own(task) / "sub").symlink_to(outside)


def replace_own(task: TaskRun, outside: Path) -> None:
    own(task).parent.mkdir(parents=True)
    own(task).symlink_to(outside)


def replace_the_runs(task: TaskRun, outside: Path) -> None:
    own(task).parent.parent.mkdir(parents=True)
    (outside / "a").mkdir()
    (outside / "a" / "secret_key").write_text(CANARY)
    own(task).parent.symlink_to(outside)


def link_relative(task: TaskRun, outside: Path) -> None:
    make_own(task)
    (own(task) / "sub").symlink_to(os.path.relpath(outside, own(task)))


TRICKS = [link_file, link_folder, replace_own, replace_the_runs, link_relative]
PATHS = [
    "secret_key", "sub/secret_key", "../outside/secret_key", "../../outside/secret_key",
    "../../../outside/secret_key", "..%2f..%2f..%2foutside/secret_key", "sub/../secret_key",
    "%2e%2e/%2e%2e/%2e%2e/outside/secret_key", "..\\..\\..\\outside\\secret_key", "./secret_key",
]  # fmt: skip


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_with_links_shows_a_file_outside(
    task: TaskRun, outside: Path, trick: Callable[[TaskRun, Path], None]
) -> None:
    trick(task, outside)
    client, api = Client(), Caller()
    client.force_login(make_user())
    said = api.get(f"task-runs/{task.pk}/artifacts").json()
    assert said["files"] == []
    page = reverse("task", args=[task.run_id, task.pk])
    assert "secret_key" not in client.get(page).content.decode()
    for path in PATHS:
        for answer in (
            api.get(f"task-runs/{task.pk}/artifacts/{path}"),
            client.get(f"{page}files/{path}"),
        ):
            assert answer.status_code in {301, 404}, path
            assert CANARY.encode() not in getattr(answer, "content", b"")


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_with_links_makes_us_delete_a_file_outside(
    task: TaskRun, outside: Path, trick: Callable[[TaskRun, Path], None], settings: Any
) -> None:
    settings.WORKFLOWHUB_ARTIFACTS_MAX_FILES = 0
    trick(task, outside)
    artifacts.settle((task.run.external_id, "a"))
    artifacts.remove(task.run.external_id)
    clean_up()
    assert (outside / "secret_key").read_text() == CANARY
    assert not os.path.lexists(own(task).parent)


def test_a_link_that_comes_and_goes_leads_nowhere_either(task: TaskRun, outside: Path) -> None:
    """A step swaps a folder for a link again and again while it is read and emptied."""
    sub = make_own(task) / "sub"
    names = (task.run.external_id, "a")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            try:
                sub.mkdir()
                (sub / "secret_key").write_text("inside")
                os.rename(sub, own(task) / "aside")
                sub.symlink_to(outside)
                sub.unlink()
                for path in (own(task) / "aside").iterdir():
                    path.unlink()
                (own(task) / "aside").rmdir()
            except OSError:
                continue

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        for _ in range(300):
            with artifacts.folders.folder(artifacts.root(), names) as handle:
                try:
                    with artifacts.folders.open_file(handle, "sub/secret_key") as file:
                        assert file.read() in {b"inside", b""}
                except FileNotFoundError:
                    pass
                artifacts.folders.list_files(handle, most=10)
                try:
                    artifacts.folders.empty(handle)
                except OSError:
                    continue
    finally:
        stop.set()
        thread.join()
    assert (outside / "secret_key").read_text() == CANARY


def test_names_in_a_folder_are_text_on_the_page(task: TaskRun) -> None:
    name = '<script>alert(1)</script>"onload=x.txt'
    folder = make_own(task)
    (folder / name.replace("/", "\u2215")).write_text("x")
    client = Client()
    client.force_login(make_user())
    html = client.get(reverse("task", args=[task.run_id, task.pk])).content.decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_a_task_that_may_not_be_seen_has_no_files(task: TaskRun, settings: Any) -> None:
    (make_own(task) / "x").write_text(CANARY)
    client = Client()
    client.force_login(make_user())
    url = reverse("artifact", args=[task.run_id, task.pk, "x"])
    assert CANARY.encode() in b"".join(client.get(url).streaming_content)
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.api.test_authorisation.SeesNothing"
    assert client.get(url).status_code == 404
    for path in ("artifacts", "artifacts/x"):
        assert Caller().get(f"task-runs/{task.pk}/{path}").status_code == 404


def test_others_on_the_machine_can_not_look_into_the_folders(task: TaskRun) -> None:
    before = os.umask(0o022)
    try:
        artifacts.folders.make(artifacts.root(), ("wh-x-1", "a"))
    finally:
        os.umask(before)
    for folder in (artifacts.root(), artifacts.root() / "wh-x-1"):
        assert folder.stat().st_mode & 0o007 == 0
