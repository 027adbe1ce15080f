"""Every page's absolute times are in the visitor's own time zone. The API's stay as they are."""

from collections.abc import Callable
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponseBase
from django.utils import timezone

API = "/api/"


class Visitors(ModelBackend):
    """Reads the visitor's preferences along with the visitor: no page pays a statement for them."""

    def get_user(self, user_id: int) -> User | None:
        rows = User.objects.select_related("preference")
        user = rows.filter(pk=user_id).first()
        return user if user is not None and self.user_can_authenticate(user) else None


class LocalTime:
    """Middleware, behind the one that knows the visitor."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if request.path.startswith(API):
            return self.get_response(request)
        with timezone.override(zone_of(request.user)):
            return self.get_response(request)


def zone_of(user: object) -> ZoneInfo | None:
    """The time zone that a user chose; None for the hub's, also where theirs is known no more."""
    name = getattr(getattr(user, "preference", None), "time_zone", "")
    try:
        return ZoneInfo(name) if name else None
    except ZoneInfoNotFoundError:
        return None
