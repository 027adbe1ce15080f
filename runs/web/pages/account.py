"""Log-in and log-out, and what everybody can set for themselves: password, API tokens, theme, time zone."""

from datetime import timedelta

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import PasswordChangeForm
from django.contrib.auth.views import LoginView, LogoutView
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from runs import actions
from runs.actions.views import ZONES
from runs.errors import Denied, Invalid
from runs.models import ApiToken
from runs.models.access import Role
from runs.policy import LADDER
from runs.web.access import actor, do, safe_next

THEMES = {"auto": "As the system", "light": "Light", "dark": "Dark"}
LIFETIMES = {"30": "30 days", "90": "90 days", "365": "1 year", "": "No end"}
YEAR = 365 * 86_400

_log_in = LoginView.as_view(template_name="web/login.html", redirect_authenticated_user=True)
log_out = LogoutView.as_view()


@login_not_required
def log_in(request: HttpRequest) -> HttpResponseBase:
    """The log-in. A live part whose session has ended is told to load its whole page anew, which
    then leads here: the form would else appear inside it."""
    if request.headers.get("HX-Request"):
        return HttpResponse(status=204, headers={"HX-Refresh": "true"})
    return _log_in(request)


@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """The settings page."""
    return _page(request)


@require_POST
def issue_token(request: HttpRequest) -> HttpResponse:
    """A new API token; its plain text is shown in this answer and never again."""
    days = request.POST.get("days", "90")
    role = request.POST.get("role", "")
    try:
        if role not in Role.values:
            raise Invalid({"role": "Choose a role."})
        token, plain = actions.issue_token(
            actor(request),
            role=Role(role),
            name=request.POST.get("name", "").strip()[:100],
            expires_at=timezone.now() + timedelta(days=int(days))
            if days in LIFETIMES and days
            else None,
        )
    except (Invalid, Denied) as error:
        return _page(request, token_error=str(error), status=400)
    return never_cache(_page)(request, issued=token, plain=plain)


@require_http_methods(["GET", "POST"])
def revoke_token(request: HttpRequest, pk: int) -> HttpResponse:
    """Ends one of one's own tokens for good."""
    token = get_object_or_404(ApiToken, pk=pk, user=request.user)
    if request.method == "POST":
        return do(
            request,
            lambda: actions.revoke_token(actor(request), token),
            then=reverse("account"),
            done=f"The token {token.prefix}… is revoked.",
        )
    named = f" ({token.name})" if token.name else ""
    return render(
        request,
        "web/confirm.html",
        {
            "title": f"Revoke the token {token.prefix}…{named}?",
            "lines": ["Programs that use it are refused from now on. It can't be taken back."],
            "button": "Revoke the token",
            "danger": True,
            "back": reverse("account"),
        },
    )


@sensitive_post_parameters()
@require_http_methods(["GET", "POST"])
def change_password(request: HttpRequest) -> HttpResponse:
    """A new password; other sessions of the user end with it."""
    form = PasswordChangeForm(request.user, request.POST or None)  # type: ignore[arg-type]
    if request.method == "POST" and form.is_valid():
        user = form.save()
        update_session_auth_hash(request, user)
        messages.success(request, "Your password is changed. Your other sessions are logged out.")
        return redirect("account")
    return render(request, "web/password.html", {"form": form}, status=400 if form.errors else 200)


@require_POST
def set_preferences(request: HttpRequest) -> HttpResponse:
    """The time zone, and the view that the list of runs opens with: kept with the user."""
    key = request.POST.get("default_view", "")
    return do(
        request,
        lambda: actions.set_preferences(
            actor(request),
            time_zone=request.POST.get("time_zone", ""),
            default_view=int(key) if key.isascii() and key.isdecimal() and len(key) < 18 else 0,
        ),
        then=reverse("account"),
        done="Your settings are kept.",
    )


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Light, dark or as the system: kept in a cookie of this browser."""
    response = redirect(safe_next(request, reverse("account")))
    theme = request.POST.get("theme", "")
    if theme in THEMES:
        response.set_cookie(
            "theme", theme, max_age=YEAR, samesite="Lax", httponly=True, secure=request.is_secure()
        )
    return response


def _page(
    request: HttpRequest,
    *,
    issued: ApiToken | None = None,
    plain: str = "",
    token_error: str = "",
    status: int = 200,
) -> HttpResponse:
    own = actor(request).role
    roles = LADDER[: LADDER.index(own) + 1] if own in LADDER else [own] if own else []
    if own == Role.ADMINISTRATOR:
        roles = [*roles, Role.RUNNER]
    return render(
        request,
        "web/account.html",
        {
            "tokens": list(ApiToken.objects.filter(user_id=request.user.pk or 0, revoked_at=None)),
            "roles": [(role.value, role.label) for role in roles],
            "role": own,
            "lifetimes": LIFETIMES.items(),
            "themes": THEMES.items(),
            "theme": request.COOKIES.get("theme", "auto"),
            "zones": ZONES,
            "hub_zone": settings.TIME_ZONE,
            "preference": getattr(request.user, "preference", None),
            "views": list(actions.views_of(actor(request))),
            "issued": issued,
            "plain": plain,
            "token_error": token_error,
            "now": timezone.now(),
        },
        status=status,
    )
