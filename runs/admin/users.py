"""Users, whose role is the group of that name. Only superusers see and edit users and groups, whatever
Django's permissions say: who may edit a user could else make themselves an administrator."""

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import AbstractUser, Group
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from runs.models.access import Role
from runs.policy import user_role

User: Any = get_user_model()
admin.site.unregister(User)
admin.site.unregister(Group)


class _ForSuperusers:
    def has_module_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return _is_superuser(request)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return _is_superuser(request)

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return _is_superuser(request)


def _is_superuser(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_superuser


@admin.register(Group)
class HubGroupAdmin(_ForSuperusers, GroupAdmin):
    pass


@admin.register(User)
class HubUserAdmin(_ForSuperusers, UserAdmin):  # type: ignore[type-arg]
    list_display = ("username", "role", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "groups")
    show_full_result_count = False

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":
            # A role's group is made when somebody first needs it: a form that offers roles does.
            Group.objects.bulk_create(
                [Group(name=role) for role in Role.values], ignore_conflicts=True
            )
        field = super().formfield_for_manytomany(db_field, request, **kwargs)
        if db_field.name == "groups" and field:
            field.help_text = (
                "The role: viewer, operator, editor, administrator or runner. The highest counts; "
                "without one a user sees nothing. Superusers administer in any case."
            )
        return field

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).prefetch_related("groups")

    @admin.display(description="role")
    def role(self, user: AbstractUser) -> str:
        role = user_role(user)
        return role.label if role else "none"
