"""Deeds: what can be done to objects, from their own pages and from lists, always after a page that
says what will happen to exactly how many."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from runs.admin.base import ReadOnlyAdmin, actor_of
from runs.errors import ActionError, Denied, Invalid
from runs.policy import Action, Actor, allow

MOST_AT_ONCE = 500
SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """`do(actor, object, data)` calls one function of runs.actions; a model that it gives is shown
    next. `asks` says what will happen. `action`: who may. `many`: offered in lists too."""

    name: str
    label: str
    asks: str
    action: Action
    do: Callable[[Actor, Any, Mapping[str, Any]], Model | None]
    form: type[forms.Form] | None = None
    danger: bool = False
    many: bool = True


def add_errors(form: forms.Form, error: ActionError) -> None:
    """Puts an action's refusal where it belongs in the form."""
    if not isinstance(error, Invalid):
        form.add_error(None, str(error))
        return
    for problem in error.problems:
        where = f"Line {problem.line}: " if problem.line else ""
        form.add_error("definition", f"{where}{problem.message}")
    for name, text in error.errors.items() if not error.problems else ():
        field = name.partition(".")[0].partition("[")[0]
        if field in form.fields:
            form.add_error(field, text if field == name else f"{name.partition('.')[2]}: {text}")
        else:
            form.add_error(None, f"{name}: {text}")


class DeedAdmin(ReadOnlyAdmin):
    """A model that has deeds."""

    deeds: ClassVar[tuple[Deed, ...]] = ()

    def get_urls(self) -> list[Any]:
        label = f"{self.opts.app_label}_{self.opts.model_name}_deed"
        own = path(
            "<path:object_id>/do/<slug:name>/",
            self.admin_site.admin_view(self.deed_view),
            name=label,
        )
        return [own, *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        if request.GET.get("_popup"):
            return {}
        return {
            deed.name: (_in_list(deed), deed.name, deed.label)
            for deed in self.allowed(request)
            if deed.many
        }

    def allowed(self, request: HttpRequest, obj: Model | None = None) -> list[Deed]:
        actor = actor_of(request)
        return [deed for deed in self.deeds if allow(actor, deed.action, obj)]

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        context["deeds"] = [
            {"label": deed.label, "url": self._deed_url(obj, deed)}
            for deed in (self.allowed(request, obj) if obj else [])
        ]
        return super().render_change_form(request, context, add, change, form_url, obj)

    def deed_view(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Asks about one object, then does it."""
        obj = self.get_object(request, unquote(object_id))
        if obj is None:
            raise Http404(f"There is no such {self.opts.verbose_name}.")
        deed = next((deed for deed in self.deeds if deed.name == name), None)
        if deed is None:
            raise Http404(f"There is no such thing to do: {name}.")
        if deed not in self.allowed(request, obj):
            raise PermissionDenied
        form = _form(deed, request, obj)
        if request.method != "POST" or (form and not form.is_valid()):
            return self._ask(request, deed, [obj], form, self._change_url(obj))
        try:
            answer = deed.do(actor_of(request), obj, form.cleaned_data if form else {})
        except Denied as error:
            raise PermissionDenied(str(error)) from None
        except ActionError as error:
            if form:
                add_errors(form, error)
                return self._ask(request, deed, [obj], form, self._change_url(obj))
            messages.error(request, str(error))
            answer = None
        else:
            messages.success(request, f"{deed.label}: done for {obj}.")
        return HttpResponseRedirect(self._after(obj, answer))

    def do_many(
        self, request: HttpRequest, deed: Deed, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        """Asks about the objects chosen in the list, then does it to each; one that is refused
        doesn't hold up the others."""
        chosen = list(queryset[: MOST_AT_ONCE + 1])
        if len(chosen) > MOST_AT_ONCE:
            messages.error(request, f"At most {MOST_AT_ONCE} at once: narrow the list first.")
            return None
        confirmed = "confirmed" in request.POST
        form = _form(deed, request, None) if confirmed else _unbound(deed)
        if not confirmed or (form and not form.is_valid()):
            return self._ask(request, deed, chosen, form, request.get_full_path())
        refused: list[str] = []
        for obj in chosen:
            try:
                deed.do(actor_of(request), obj, form.cleaned_data if form else {})
            except ActionError as error:
                refused.append(f"{obj}: {error}")
        if len(refused) < len(chosen):
            messages.success(request, f"{deed.label}: done for {len(chosen) - len(refused)}.")
        for line in refused[:SHOWN]:
            messages.error(request, line)
        if len(refused) > SHOWN:
            messages.error(request, f"{len(refused) - SHOWN} more were refused.")
        return None

    def _ask(
        self,
        request: HttpRequest,
        deed: Deed,
        chosen: Sequence[Model],
        form: forms.Form | None,
        back: str,
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "title": deed.label,
            "opts": self.opts,
            "deed": deed,
            "form": form,
            "count": len(chosen),
            "noun": self.opts.verbose_name if len(chosen) == 1 else self.opts.verbose_name_plural,
            "shown": chosen[:SHOWN],
            "more": max(len(chosen) - SHOWN, 0),
            "keys": [obj.pk for obj in chosen] if "action" in request.POST else [],
            "checkbox": ACTION_CHECKBOX_NAME,
            "back": back,
        }
        return TemplateResponse(request, "admin/hub/deed.html", context)

    def _after(self, obj: Model, answer: Model | None) -> str:
        """The page to show next: of what the deed gave, else of the object, else the list."""
        if answer is not None:
            model = answer._meta
            return reverse(
                f"admin:{model.app_label}_{model.model_name}_change", args=[quote(answer.pk)]
            )
        if obj.pk and type(obj)._default_manager.filter(pk=obj.pk).exists():
            return self._change_url(obj)
        return reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist")

    def _change_url(self, obj: Model) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        return reverse(name, args=[quote(obj.pk)])

    def _deed_url(self, obj: Any, deed: Deed) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_deed"
        return reverse(name, args=[quote(obj.pk), deed.name])


def _in_list(deed: Deed) -> Callable[[DeedAdmin, HttpRequest, QuerySet[Any]], Any]:
    def act(
        model_admin: DeedAdmin, request: HttpRequest, queryset: QuerySet[Any]
    ) -> HttpResponse | None:
        return model_admin.do_many(request, deed, queryset)

    return act


def _form(deed: Deed, request: HttpRequest, obj: Model | None) -> forms.Form | None:
    if deed.form is None:
        return None
    initial = deed.form.initial_of(obj) if obj and hasattr(deed.form, "initial_of") else None
    data = request.POST if request.method == "POST" else None
    return deed.form(data, initial=initial, prefix="deed")


def _unbound(deed: Deed) -> forms.Form | None:
    return deed.form(prefix="deed") if deed.form else None
