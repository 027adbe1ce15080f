"""The sentences of EngineContract about the files that tasks leave."""

import pytest

from engines.base import EngineAdapter, EngineRejected, RunNotFound, external_id
from engines.testing.harness import Harness

PATHS_THAT_LEAD_AWAY = ("../x", "/etc/passwd", "a/../../x", "", ".", "a//table.csv", "no such file")


class LeavingsContract(Harness):
    """A part of EngineContract."""

    def test_files_of_tasks_are_given_as_their_flag_says(
        self, adapter: EngineAdapter, running: str
    ) -> None:
        task = self.first_task(adapter)
        if not self.can(adapter, "artifacts"):
            with pytest.raises(EngineRejected):
                adapter.artifacts(running, task, -1)
            with pytest.raises(EngineRejected):
                adapter.open_artifact(running, task, -1, "table.csv")
            return
        assert adapter.artifacts(running, task, -1).files == ()
        self.leave_file(running, task, "a/table.csv", b"1,2\n")
        (file,) = adapter.artifacts(running, task, -1).files
        assert (file.path, file.size) == ("a/table.csv", 4)
        assert file.modified_at.tzinfo is not None
        with adapter.open_artifact(running, task, -1, file.path) as opened:
            assert opened.read(2) + opened.read() == b"1,2\n"
        for path in PATHS_THAT_LEAD_AWAY:
            with pytest.raises(RunNotFound):
                adapter.open_artifact(running, task, -1, path)
        with pytest.raises(RunNotFound):
            adapter.artifacts(external_id("0" * 36, 1), task, -1)
