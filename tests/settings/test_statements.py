"""A web process bounds its statements on PostgreSQL; other processes don't."""

import pytest
from django.db import OperationalError, connection
from django.db.backends.signals import connection_created

from workflowhub.statements import bound_statements


@pytest.fixture
def bounded(settings):
    settings.WORKFLOWHUB_STATEMENT_TIMEOUT = 0.2
    bound_statements()
    connection.close()
    yield
    connection_created.disconnect(dispatch_uid="workflowhub.statements")
    connection.close()


@pytest.mark.django_db(transaction=True)
def test_a_statement_that_takes_too_long_is_cancelled(bounded):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no time limit of statements.")
    with connection.cursor() as cursor, pytest.raises(OperationalError, match="statement timeout"):
        cursor.execute("SELECT pg_sleep(5)")


@pytest.mark.django_db(transaction=True)
def test_other_processes_are_not_bounded():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no time limit of statements.")
    with connection.cursor() as cursor:
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone()[0] == "0"


@pytest.mark.django_db(transaction=True)
def test_a_page_of_a_list_is_never_looked_for_by_a_merge_join(bounded):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite joins by loops alone.")
    with connection.cursor() as cursor:
        cursor.execute("SHOW enable_mergejoin")
        assert cursor.fetchone()[0] == "off"
