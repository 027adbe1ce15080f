"""Files of tasks for whoever reads them: asked of the engine, with a reason where there are none."""

import os
from datetime import timedelta
from io import StringIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.management import call_command

from engines.base import Artifacts, EngineUnavailable, RunNotFound
from engines.clock import database_now
from engines.dag import artifacts as folders
from engines.dag.context import step_folder
from engines.dag.models import Document, Execution, Step
from engines.testing.fake_http import FakeHttpEngine
from runs import artifacts, live
from runs.models import RunAttempt, WorkflowRun
from runs.retention import Limits, clean_up
from runs.states import RunState, TaskState
from tests.adapters.remote.definition import FORMAT
from tests.factories import make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
FILES = "folders of files"


@pytest.fixture(autouse=True)
def work(settings, tmp_path):
    alias = {**settings.STORAGES["work"], "OPTIONS": {"location": tmp_path / "work"}}
    settings.STORAGES = {**settings.STORAGES, "work": alias}
    return tmp_path / "work"


def execution_of(run, attempt=1, **kw):
    """What the built-in engine has of a run's attempt: one step, `a`."""
    document, _ = Document.objects.get_or_create(digest="d", defaults={"format": "workflowhub"})
    external_id = RunAttempt.objects.get(run=run, number=attempt).external_id
    execution = Execution.objects.create(
        engine=run.engine,
        document=document,
        external_id=external_id,
        run_uuid=str(run.uuid),
        attempt=attempt,
        title="t",
        max_parallel=1,
        state=kw.pop("execution_state", RunState.COMPLETED),
        created_at=database_now(),
        ended_at=kw.pop("execution_ended", database_now()),
    )
    Step.objects.create(
        execution=execution, name="a", position=0, **{"state": TaskState.COMPLETED, **kw}
    )
    return external_id


def run_with_files(attempts=1, **kw):
    run = make_run(make_workflow({"a": []}), engine=kw.pop("engine", None) or make_engine(), **kw)
    for number in range(1, attempts + 1):
        if number > 1:
            RunAttempt.objects.create(run=run, number=number, external_id=f"wh-{run.uuid}-{number}")
        leave(execution_of(run, number), f"by attempt {number}")
    WorkflowRun.objects.filter(pk=run.pk).update(attempt=attempts)
    return run


def leave(external_id, text="x"):
    folder = step_folder(external_id, "a", -1)
    folder.mkdir(parents=True)
    (folder / "file.txt").write_text(text)
    return folder.parent


def task_of(run):
    return run.task_runs.select_related("run__engine").get(name="a")


def ended(days, **kw):
    return {"state": RunState.COMPLETED, "ended_at": database_now() - days * DAY, **kw}


def test_files_are_those_of_the_attempt_at_which_the_task_ran_last():
    run = run_with_files(attempts=2, state=RunState.COMPLETED)
    task = task_of(run)
    with artifacts.open_file(task, "file.txt") as file:
        assert file.read() == b"by attempt 1"
    run.task_runs.update(attempt=2)
    with artifacts.open_file(task_of(run), "file.txt") as file:
        assert file.read() == b"by attempt 2"
    with artifacts.open_file(task_of(run), "file.txt", attempt=1) as file:
        assert file.read() == b"by attempt 1"
    assert [file.path for file in artifacts.files(task).files] == ["file.txt"]
    assert artifacts.files(task, attempt=9) == Artifacts()


def test_a_run_that_no_engine_has_had_has_no_files():
    task = task_of(make_run(make_workflow({"a": []})))
    assert artifacts.files(task) == Artifacts()
    with pytest.raises(RunNotFound):
        artifacts.open_file(task, "x")


def test_an_engine_that_keeps_no_files_says_so():
    engine = make_engine("remote", config={"url": "http://127.0.0.1:1"})
    task = task_of(make_run(make_workflow({"a": []}, format=FORMAT), engine=engine))
    with pytest.raises(artifacts.NoFiles, match="no such call"):
        artifacts.files(task)
    engine.capabilities = {"artifacts": "It burns them."}
    engine.save()
    with pytest.raises(artifacts.NoFiles, match="It burns them"):
        artifacts.open_file(task_of(task.run), "x")


def test_a_disabled_engine_is_not_asked():
    run = run_with_files(engine=make_engine(enabled=False))
    with pytest.raises(artifacts.FilesUnavailable, match="disabled"):
        artifacts.files(task_of(run))


@pytest.fixture
def asked(monkeypatch):
    """What a remote engine does when it is asked for files."""
    deeds = {}

    class Adapter:
        name, submission = "far", None

        def artifacts(self, *_):
            return deeds["do"]()

    monkeypatch.setattr(artifacts, "connect", lambda engine: Adapter())
    engine = make_engine("remote", config={"url": "http://127.0.0.1:1"})
    engine.capabilities["artifacts"] = True
    engine.save()
    deeds["task"] = task_of(make_run(make_workflow({"a": []}, format=FORMAT), engine=engine))
    return deeds


def test_an_engine_that_hangs_is_given_up_after_the_deadline(asked, monkeypatch):
    monkeypatch.setattr(live, "DEADLINE", 0.05)
    with FakeHttpEngine() as fake:
        asked["do"] = lambda: fake.wait(0.5)
        with pytest.raises(artifacts.FilesUnavailable, match="took longer than 0.05 s"):
            artifacts.files(asked["task"])


def test_an_engine_that_can_not_be_asked_is_named(asked):
    def fail():
        raise EngineUnavailable("Connection refused.")

    asked["do"] = fail
    with pytest.raises(artifacts.FilesUnavailable, match="can't give the files: Connection"):
        artifacts.files(asked["task"])


# What cleanup does


def test_files_go_before_their_runs_and_in_all_attempts(work):
    old, young = run_with_files(attempts=2, **ended(40)), run_with_files(**ended(10))
    assert len(list(work.iterdir())) == 3
    assert clean_up(Limits(artifacts=30 * DAY), dry_run=True).counts == {FILES: 2}
    assert len(list(work.iterdir())) == 3
    assert clean_up(Limits(artifacts=30 * DAY)).counts == {FILES: 2}
    assert [path.name for path in work.iterdir()] == [young.external_id]
    assert WorkflowRun.objects.filter(pk=old.pk).exists()


def test_they_go_with_their_run_in_all_attempts(work):
    run_with_files(attempts=3, **ended(100))
    assert clean_up(Limits(finished=90 * DAY)).counts == {"runs": 1}
    assert list(work.iterdir()) == []
    assert not Execution.objects.exists()


@pytest.mark.parametrize("limit", ["artifacts", "finished"])
@pytest.mark.parametrize("kind", ["task", "hook"])
def test_what_still_runs_keeps_its_files(work, limit, kind):
    """A hook runs after the end of its run, and so may what was marked by hand."""
    run = run_with_files(**ended(100))
    Step.objects.update(state=TaskState.RUNNING, kind=kind)
    clean_up(Limits(**{limit: 30 * DAY}))
    assert [path.name for path in work.iterdir()] == [run.external_id]
    assert Step.objects.exists()
    assert WorkflowRun.objects.exists()
    Step.objects.update(state=TaskState.COMPLETED)
    clean_up(Limits(**{limit: 30 * DAY}))
    assert list(work.iterdir()) == []


def test_an_active_run_keeps_the_files_of_its_earlier_attempts(work):
    run_with_files(attempts=2, state=RunState.RUNNING)
    clean_up(Limits(artifacts=timedelta(0)))
    assert len(list(work.iterdir())) == 2


def test_stray_folders_are_swept_after_a_day_and_links_are_not_followed(work, tmp_path):
    kept = run_with_files(**ended(1))
    stray, fresh = leave(f"wh-{uuid4()}-1-t3abc"), leave(f"wh-{uuid4()}-1")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (stray / "a" / "out").symlink_to(outside)
    link = work / f"wh-{uuid4()}-2"
    link.symlink_to(outside)
    foreign = [work / "notes", work / f"wh-{'a' * 36}-1"]
    for path in foreign:
        path.mkdir()
    for path in (stray, link, *foreign, work / kept.external_id):
        os.utime(path, (1, 1), follow_symlinks=False)
    assert clean_up(dry_run=True).counts["stray folders of files"] == 2
    assert clean_up(batch=1).counts["stray folders of files"] == 2
    assert {path.name for path in work.iterdir()} == {
        fresh.name,
        kept.external_id,
        *(path.name for path in foreign),
    }
    assert (outside / "precious").exists()


def test_the_command_takes_the_files_age_from_the_settings(settings, work):
    settings.WORKFLOWHUB_KEEP_ARTIFACTS = 30 * DAY
    run_with_files(**ended(40))
    out = StringIO()
    call_command("cleanup", "--artifacts", "--dry-run", stdout=out)
    assert out.getvalue() == "Would delete: 1 folders of files.\n"
    call_command("cleanup", "--artifacts", stdout=StringIO())
    assert list(work.iterdir()) == []


def test_a_folder_that_can_not_be_deleted_is_not_counted(work, monkeypatch):
    run_with_files(**ended(40))

    def refuse(root, names):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folders.folders, "remove", refuse)
    assert clean_up(Limits(artifacts=DAY)).counts == {FILES: 0}


def test_a_hub_without_any_files_is_clean(work):
    assert clean_up(Limits(artifacts=DAY)).counts == {FILES: 0}
    assert not Path(work).exists()
