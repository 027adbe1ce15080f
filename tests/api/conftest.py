"""Clients of the API, each with a role of its own."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from runs.models.access import Role
from tests.factories import make_token, make_user


class Caller:
    """A client with a token: `api.post("workflows", {...})`."""

    def __init__(self, role: str = Role.ADMINISTRATOR, **headers: str) -> None:
        self.user = make_user(role)
        self.token = make_token(self.user, role)
        self.client = Client(headers={"authorization": f"Bearer {self.token}", **headers})

    def get(self, path: str, **kw: Any) -> Any:
        return self.client.get(f"/api/v1/{path}", **kw)

    def post(self, path: str, body: Any = None, **kw: Any) -> Any:
        return self.client.post(
            f"/api/v1/{path}", {} if body is None else body, "application/json", **kw
        )

    def patch(self, path: str, body: Any, **kw: Any) -> Any:
        return self.client.patch(f"/api/v1/{path}", body, "application/json", **kw)

    def delete(self, path: str, **kw: Any) -> Any:
        return self.client.delete(f"/api/v1/{path}", **kw)


@pytest.fixture
def api(db: None) -> Caller:
    """An administrator."""
    return Caller()


@pytest.fixture
def caller(db: None) -> Callable[..., Caller]:
    """Makes a caller with a role."""
    return Caller
