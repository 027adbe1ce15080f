"""A form that is sent twice has one effect: it carries a token, which is kept with where its first
sending led, in the transaction of what it did. Like an Idempotency-Key of the API, for 24 hours."""

import hashlib
from collections.abc import Callable
from uuid import UUID, uuid4

from django.db import IntegrityError, transaction
from django.http import HttpRequest

from runs.errors import Invalid
from runs.models import IdempotencyKey

FIELD = "once"


def new_token() -> str:
    """For the hidden field `once` of a form."""
    return str(uuid4())


def once(request: HttpRequest, deed: Callable[[], str]) -> str:
    """The URL that `deed` gives, or that it gave when this form was sent before. Raises what it
    raises; then the form may be sent again."""
    try:
        key = f"form:{UUID(request.POST.get(FIELD, ''))}"
    except ValueError:
        raise Invalid({"": "The form was sent without its token: open it again."}) from None
    user: int = request.user.pk  # type: ignore[assignment]
    digest = hashlib.sha256(request.get_full_path().encode()).hexdigest()
    try:
        with transaction.atomic():
            row = IdempotencyKey.objects.create(user_id=user, key=key, request_digest=digest)
            url = deed()
            row.status, row.body = 302, {"url": url}
            row.save(update_fields=["status", "body"])
            return url
    except IntegrityError:
        found = IdempotencyKey.objects.filter(user=user, key=key).first()
        if found is None:
            raise
        if found.request_digest != digest or not isinstance(found.body, dict):
            raise Invalid(
                {"": "The form was sent for something else already: open it again."}
            ) from None
        return str(found.body["url"])
