"""The page that deletes what is old: says first exactly how many go, then deletes them."""

from datetime import timedelta
from typing import Any, ClassVar, Literal

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse

from runs import actions
from runs.admin.base import ReadOnlyAdmin, actor_of
from runs.policy import Action, allow


class PurgeForm(forms.Form):
    """`expected`: how many the page before said."""

    days = forms.IntegerField(
        min_value=0, max_value=36_500, label="Older than", help_text="In days."
    )
    expected = forms.IntegerField(required=False, widget=forms.HiddenInput)


class PurgingAdmin(ReadOnlyAdmin):
    """A model whose old objects can be deleted: those `archived`, or those `finished`."""

    purges: ClassVar[Literal["archived", "finished"]]
    change_list_template = "admin/hub/change_list.html"

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_purge"
        own = path("purge/", self.admin_site.admin_view(self.purge_view), name=name)
        return [own, *super().get_urls()]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        tool = {}
        if allow(actor_of(request), Action.HOUSEKEEPING):
            name = f"admin:{self.opts.app_label}_{self.opts.model_name}_purge"
            tool = {"purge_url": reverse(name), "purges": self.purges}
        return super().changelist_view(request, {**(extra_context or {}), **tool})

    def purge_view(self, request: HttpRequest) -> HttpResponse:
        """Asks for an age; says how many; deletes them if it is still that many."""
        if not allow(actor_of(request), Action.HOUSEKEEPING):
            raise PermissionDenied
        kept: timedelta = (
            settings.WORKFLOWHUB_KEEP_ARCHIVED
            if self.purges == "archived"
            else settings.WORKFLOWHUB_KEEP_FINISHED
        )
        posted = request.method == "POST"
        form = PurgeForm(request.POST if posted else None, initial={"days": kept.days})
        count: int | None = None
        if posted and form.is_valid():
            days = timedelta(days=form.cleaned_data["days"])
            count = self._purge(request, days, dry_run=True)
            expected = form.cleaned_data["expected"]
            if expected is not None and expected == count:
                return self._done(request, self._purge(request, days, dry_run=False))
            if expected is not None:
                messages.warning(request, f"It was {expected} a moment ago: look again.")
        context = {
            **self.admin_site.each_context(request),
            "title": f"Delete {self.purges} {self.opts.verbose_name_plural}",
            "opts": self.opts,
            "form": form,
            "count": count,
        }
        return TemplateResponse(request, "admin/hub/purge.html", context)

    def _purge(self, request: HttpRequest, age: timedelta, *, dry_run: bool) -> int:
        archived, finished = (age, None) if self.purges == "archived" else (None, age)
        counts = actions.purge(
            actor_of(request), archived=archived, finished=finished, dry_run=dry_run
        )
        return sum(counts.values())

    def _done(self, request: HttpRequest, number: int) -> HttpResponse:
        messages.success(request, f"{number} {self.opts.verbose_name_plural} deleted.")
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_changelist"
        return HttpResponseRedirect(reverse(name))
