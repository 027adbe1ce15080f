"""Any path below /api/v1/ that is no resource."""

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from runs.api.errors import Problem
from runs.api.views import HubView
from runs.policy import Action


@extend_schema(exclude=True)
class Unknown(HubView):
    needs: ClassVar[dict[str, Action]] = {}
    query = None
    changes_nothing = True

    def get(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        raise Problem(404, "not-found", "There is no such path. See /docs for those there are.")

    post = put = patch = delete = get
