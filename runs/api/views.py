"""What every view of the API does besides its own work: the caller's rights, known query names,
one answer for one Idempotency-Key, and another try after a deadlock."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from runs.api.errors import MEDIA_TYPE as PROBLEM_TYPE
from runs.api.errors import Missing, Problem
from runs.api.idempotency import answer_once
from runs.api.permissions import actor_of
from runs.policy import Action, Actor, visible
from runs.rollbacks import retried

M = TypeVar("M", bound=Model)


class HubView(APIView):
    """A resource. `needs`: method -> the right it takes. `query`: the names that its GET knows,
    None: any."""

    needs: ClassVar[Mapping[str, Action]]
    query: ClassVar[Sequence[str] | None] = ()
    # A POST without effect needs no key; an answer with a secret in it is stored encrypted.
    changes_nothing: ClassVar[bool] = False
    secret_answer: ClassVar[bool] = False

    @property
    def actor(self) -> Actor:
        return actor_of(self.request)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.query is None or request.method == "OPTIONS":
            return
        known = self.query if request.method in {"GET", "HEAD"} else ()
        unknown = sorted(set(request.query_params) - set(known))
        if unknown:
            takes = f"It takes {', '.join(sorted(known))}." if known else "It takes none."
            text = f"is not a query parameter of this. {takes}"
            raise Problem(
                400, "invalid", f"{unknown[0]}: {text}", errors=dict.fromkeys(unknown, text)
            )

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """As DRF's, with the handler called through `_guarded`."""
        self.args, self.kwargs = args, kwargs
        drf_request = self.initialize_request(request, *args, **kwargs)
        self.request = drf_request
        self.headers = self.default_response_headers
        try:
            self.initial(drf_request, *args, **kwargs)
            name = (drf_request.method or "").lower()
            handler = getattr(self, name, None) if name in self.http_method_names else None
            if handler is None:
                handler = self.http_method_not_allowed
            response: Any = self._guarded(partial(handler, drf_request, *args, **kwargs))
        except Exception as error:  # noqa: BLE001 - DRF's handler raises again what it doesn't know
            response = self.handle_exception(error)
        self.response = self.finalize_response(drf_request, response, *args, **kwargs)
        return self.response

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """A refusal is JSON, whatever was asked for."""
        if getattr(response, "content_type", None) == PROBLEM_TYPE:
            request.accepted_renderer = JSONRenderer()
            request.accepted_media_type = PROBLEM_TYPE
        return super().finalize_response(request, response, *args, **kwargs)

    def _guarded(self, call: Callable[[], Response]) -> Response:
        if self.request.method == "POST" and not self.changes_nothing:
            secret = self.secret_answer
            return retried(lambda: answer_once(self.request, call, secret=secret))
        return retried(call)

    def options(  # type: ignore[override]  # DRF's request, as in every method
        self, request: Request, *args: Any, **kwargs: Any
    ) -> Response:
        return Response(status=204)

    def one(self, queryset: QuerySet[M], **lookup: Any) -> M:
        """The object, if the caller may see it. Raises Missing."""
        found = visible(self.actor, queryset).filter(**lookup).first()
        if found is None:
            raise Missing(str(queryset.model._meta.verbose_name))
        return found
