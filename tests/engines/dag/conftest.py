import pytest

from tests.engines.dag.workers import WorkerProcess


@pytest.fixture
def start_worker(database_url):
    """Starts `manage.py worker` on the test database; whatever was started is ended."""
    workers = []

    def start(*arguments, **environment):
        workers.append(WorkerProcess(database_url, *arguments, **environment))
        return workers[-1]

    yield start
    for worker in workers:
        worker.end()
