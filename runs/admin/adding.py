"""Pages that make something new through runs.actions, in the place of Django's add form."""

from abc import abstractmethod
from typing import Any, ClassVar

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse

from runs.admin.base import actor_of
from runs.admin.deeds import DeedAdmin, add_errors
from runs.errors import ActionError, Denied
from runs.policy import Action, allow


class AddingAdmin(DeedAdmin):
    """A model that can be added by whom `add_action` is allowed to."""

    add_form: ClassVar[type[forms.Form]]
    add_action: ClassVar[Action]
    add_label: ClassVar[str]

    @abstractmethod
    def add(self, request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
        """Makes it by an action and gives the page that follows."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return allow(actor_of(request), self.add_action)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        form = self.add_form(request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            try:
                return self.add(request, form.cleaned_data)
            except Denied as error:
                raise PermissionDenied(str(error)) from None
            except ActionError as error:
                add_errors(form, error)
        context = {
            **self.admin_site.each_context(request),
            "title": self.add_label,
            "opts": self.opts,
            "form": form,
        }
        return TemplateResponse(request, "admin/hub/form.html", context)

    def show(self, request: HttpRequest, obj: Any, message: str) -> HttpResponse:
        """Goes to the object's page with a message."""
        messages.success(request, message)
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_change"
        return HttpResponseRedirect(reverse(name, args=[obj.pk]))
