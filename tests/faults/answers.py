"""Answers of the database that get lost."""

import threading
from typing import Any

import pytest
from django.db import OperationalError, connections


def lose_next_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next transaction of this thread is committed, but the database dies before it can say
    so."""
    kind = type(connections["default"])
    commit = kind._commit
    left = {threading.get_ident()}

    def breaks(wrapper: Any) -> None:
        commit(wrapper)
        if threading.get_ident() in left:
            left.clear()
            raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(kind, "_commit", breaks)
