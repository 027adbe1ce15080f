"""What all admin pages of the hub share: they show everything and save nothing.

No page here writes a model. What changes something is a Deed (runs/admin/deeds.py), which calls the
same function of runs.actions as the pages and the API do, so that every rule, event and audit entry is
the same. Who may see and do what is runs.policy's matter; Django's own permissions aren't asked.

Nothing here counts or searches a whole table: counts are capped, lists are ordered by primary key,
and a search term is compared with indexed columns only.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from runs.models import AuditEntry
from runs.policy import Action, Actor, allow, visible

Reader = Callable[[str], Any]
"""What a search term means for a column; None where it can't be a value of it."""


def number(term: str) -> int | None:
    return int(term) if term.isascii() and term.isdigit() and int(term) < 2**63 else None


def uuid(term: str) -> UUID | None:
    try:
        return UUID(term)
    except ValueError:
        return None


def text(term: str) -> str:
    return term


def actor_of(request: HttpRequest) -> Actor:
    """Who acts; one object a request, so that the role is read once."""
    known: Actor = vars(request).setdefault(
        "hub_admin_actor", Actor(user=request.user, face=AuditEntry.Face.ADMIN)
    )
    return known


class CappedPaginator(Paginator):  # type: ignore[type-arg]
    """Counts no further than MOST: what lies behind is found by filters and search."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        rows: Any = self.object_list
        return int(rows.order_by()[: self.MOST].count())


class VisibleFilter(admin.RelatedFieldListFilter):
    """Filters by something else, of which it offers what the visitor may see."""

    def field_choices(
        self, field: Any, request: HttpRequest, model_admin: Any
    ) -> list[tuple[str, Any]]:
        found: QuerySet[Any] = field.related_model._default_manager.all()
        return [(obj.pk, str(obj)) for obj in visible(actor_of(request), found)]


class ReadOnlyAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    """Lists and shows a model. `hidden`: fields that are never shown. `extra`: methods shown beside
    the fields. `finds`: (lookup on an indexed column, reader) pairs that a search term is tried on."""

    hidden: ClassVar[tuple[str, ...]] = ()
    extra: ClassVar[tuple[str, ...]] = ()
    finds: ClassVar[tuple[tuple[str, Reader], ...]] = ()

    change_form_template = "admin/hub/change_form.html"
    list_per_page = 50
    list_max_show_all = 50
    ordering = ("-pk",)
    paginator = CappedPaginator
    show_facets = admin.ShowFacets.NEVER
    show_full_result_count = False
    sortable_by: ClassVar[Any] = ()

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return allow(actor_of(request), Action.VIEW, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if any("\x00" in text for texts in request.GET.lists() for text in texts[1]):
            raise BadRequest("No column of a database holds a NUL character.")
        return super().changelist_view(request, extra_context)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return visible(actor_of(request), super().get_queryset(request))

    def get_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        shown = [field.name for field in self.opts.fields if field.name not in self.hidden]
        return [*shown, *self.extra]

    def get_readonly_fields(self, request: HttpRequest, obj: Model | None = None) -> Any:
        return self.get_fields(request, obj)

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        return [lookup for lookup, _ in self.finds]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        term = search_term.strip()
        return (queryset.filter(self.matches(term)) if term else queryset), False

    def matches(self, term: str) -> Q:
        """The rows that a search term means."""
        found = Q(pk__in=[])
        for lookup, reader in self.finds:
            value = reader(term)
            if value is not None:
                found |= Q(**{lookup: value})
        return found

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: Any = None
    ) -> HttpResponse:
        """The history of an object is in the audit log."""
        return HttpResponseRedirect(self.audit_url(object_id))

    def audit_url(self, object_id: str) -> str:
        url = reverse("admin:runs_auditentry_changelist")
        return f"{url}?q={self.opts.model_name}+{object_id}"

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> HttpResponse:
        context["audit_url"] = self.audit_url(str(obj.pk)) if obj else ""
        return super().render_change_form(request, context, add, change, form_url, obj)
