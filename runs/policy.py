"""Who may do what. Roles allow; a permission factory of the operator's may only narrow that further.

WORKFLOWHUB_PERMISSION_FACTORY names a callable that takes no argument and returns an object with
`allow(user, action, obj) -> bool` and `visible(user, queryset) -> queryset`. The latter is asked about
workflows, runs and engines only: what belongs to one of these is seen with it, and never without. So
is a secret or a variable with a workflow of its title.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, Group
from django.db.models import Model, Q, QuerySet, TextChoices

from engines.dag.models import Document, Execution, Step, StepTry
from engines.inbound import Hint
from engines.models import Engine, EngineJob
from runs.errors import Denied
from runs.models import (
    Acknowledgement,
    AuditEntry,
    BulkJob,
    ChildRun,
    DownstreamTask,
    HourlyRollup,
    Label,
    Preference,
    RunAttempt,
    RunEvent,
    RunLabel,
    SavedView,
    Task,
    TaskRun,
    TaskTry,
    Workflow,
    WorkflowLabel,
    WorkflowPace,
    WorkflowRun,
)
from runs.models.access import Role
from runs.models.secret import Named
from workflowhub.discovery import load

M = TypeVar("M", bound=Model)


class Action(TextChoices):
    VIEW = "view", "see it"
    START_RUN = "start_run", "start runs"
    CANCEL_RUN = "cancel_run", "cancel runs"
    RETRY_RUN = "retry_run", "retry runs"
    MARK_RUN = "mark_run", "mark runs"
    EDIT_RUN = "edit_run", "edit runs"
    ASK_ENGINE = "ask_engine", "ask engines to sync"
    POST_WORKFLOW = "post_workflow", "post workflows"
    POST_SHELL = "post_shell", "post workflows that run shell commands"
    EDIT_WORKFLOW = "edit_workflow", "edit workflows"
    MANAGE_SECRETS = "manage_secrets", "manage secrets and variables"
    MANAGE_ENGINES = "manage_engines", "manage engines"
    HOUSEKEEPING = "housekeeping", "purge and force states"
    MANAGE_TOKENS = "manage_tokens", "manage other users' tokens"
    AUDIT = "audit", "read the audit log"


_OPERATOR = {
    Action.VIEW,
    Action.START_RUN,
    Action.CANCEL_RUN,
    Action.RETRY_RUN,
    Action.MARK_RUN,
    Action.EDIT_RUN,
    Action.ASK_ENGINE,
}
_EDITOR = _OPERATOR | {Action.POST_WORKFLOW, Action.EDIT_WORKFLOW, Action.MANAGE_SECRETS}
ALLOWED: dict[Role, frozenset[Action]] = {
    Role.VIEWER: frozenset({Action.VIEW}),
    Role.OPERATOR: frozenset(_OPERATOR),
    Role.EDITOR: frozenset(_EDITOR),
    Role.ADMINISTRATOR: frozenset(Action),
    Role.RUNNER: frozenset(),
}
# From the least to the most; RUNNER stands apart.
LADDER = [Role.VIEWER, Role.OPERATOR, Role.EDITOR, Role.ADMINISTRATOR]

# Model -> (the way to what it belongs to, that model).
OWNERS: dict[type[Model], tuple[str, type[Model]]] = {
    Task: ("workflow", Workflow),
    DownstreamTask: ("task__workflow", Workflow),
    WorkflowLabel: ("workflow", Workflow),
    TaskRun: ("run", WorkflowRun),
    TaskTry: ("task_run__run", WorkflowRun),
    RunAttempt: ("run", WorkflowRun),
    RunEvent: ("run", WorkflowRun),
    ChildRun: ("parent", WorkflowRun),
    RunLabel: ("run", WorkflowRun),
    Hint: ("engine", Engine),
    # The built-in engine knows runs by the ids that the hub gave them.
    Execution: ("external_id", RunAttempt),
    Document: ("executions", Execution),
    Step: ("execution", Execution),
    StepTry: ("step", Step),
}

# Models that name a workflow by its title, in all its versions.
TITLED: set[type[Model]] = {Acknowledgement, HourlyRollup, WorkflowPace}
# Model -> whose it is. Where something is hidden, nobody sees another one's filters.
PERSONAL: dict[type[Model], str] = {
    BulkJob: "requested_by",
    Preference: "user",
    SavedView: "user",
}


class Factory(Protocol):
    def allow(self, user: Any, action: str, obj: Any) -> bool: ...

    def visible(self, user: Any, queryset: QuerySet[M]) -> QuerySet[M]: ...


@dataclass(frozen=True)
class Actor:
    """Who acts, through which face. `cap`: the role of the token used, which only narrows. No user:
    the hub itself, from a command on its own machine."""

    user: AbstractBaseUser | AnonymousUser | None = None
    face: AuditEntry.Face = AuditEntry.Face.COMMAND
    cap: Role | None = None

    @property
    def name(self) -> str:
        return self.user.get_username() if self.user else "workflowhub"

    @cached_property
    def role(self) -> Role | None:
        """The effective role; None may do nothing."""
        own = user_role(self.user) if self.user else Role.ADMINISTRATOR
        if self.cap is None or own is None or self.cap == own:
            return own
        if Role.RUNNER in (self.cap, own):
            return Role.RUNNER if own == Role.ADMINISTRATOR else None
        return LADDER[min(LADDER.index(self.cap), LADDER.index(own))]


def user_role(user: Any) -> Role | None:
    """The highest role among a user's groups (a group named like a role); superusers administer."""
    if not user.is_active:
        return None
    if user.is_superuser:
        return Role.ADMINISTRATOR
    names = {group.name for group in user.groups.all()}  # they may be prefetched
    for role in reversed(LADDER):
        if role in names:
            return role
    return Role.RUNNER if Role.RUNNER in names else None


def give_role(user: Any, role: Role) -> None:
    """Makes `role` the user's only role."""
    user.groups.remove(*user.groups.filter(name__in=Role.values))
    user.groups.add(Group.objects.get_or_create(name=role)[0])


def allow(actor: Actor, action: Action, obj: Any = None) -> bool:
    role = actor.role
    if role is None:
        return False
    allowed = action in ALLOWED[role]
    if not allowed and action == Action.POST_SHELL and role == Role.EDITOR and actor.user:
        allowed = bool(actor.user.has_perm("runs.post_shell"))  # type: ignore[union-attr]
    if action == Action.MANAGE_SECRETS and isinstance(obj, Named) and not obj.workflow:
        allowed = role == Role.ADMINISTRATOR  # every workflow would see it
    factory = _factory()
    return allowed and (factory is None or factory.allow(actor.user, action, obj))


def require(actor: Actor, action: Action, obj: Any = None) -> None:
    """Raises Denied unless the actor may."""
    if not allow(actor, action, obj):
        role = f"the role {actor.role.label.lower()}" if actor.role else "no role"
        raise Denied(
            f"{actor.name} has {role}, which may not {action.label}. Ask an administrator."
        )


def visible(actor: Actor, queryset: QuerySet[M]) -> QuerySet[M]:
    """What the actor may see of it: nothing without the right to view."""
    if not allow(actor, Action.VIEW):
        return queryset.none()
    factory = _factory()
    return _narrowed(factory, actor.user, queryset) if factory else queryset


def _narrowed(factory: Factory, user: Any, queryset: QuerySet[M]) -> QuerySet[M]:
    def seen(owner: type[Model]) -> QuerySet[Any]:
        return _narrowed(factory, user, owner._default_manager.all())

    model: type[Model] = queryset.model
    if model in {Workflow, WorkflowRun, Engine}:
        return factory.visible(user, queryset)
    if model is EngineJob:
        own = Q(engine=None, requested_by=user.pk if user else None)
        return queryset.filter(Q(engine__in=seen(Engine)) | own)
    if model is Label:
        labels = Label.objects.on_any_of(seen(Workflow), seen(WorkflowRun))
        return queryset.filter(pk__in=labels.values("pk"))
    if issubclass(model, Named):
        titles = seen(Workflow).order_by().values("title")
        return queryset.filter(Q(workflow="") | Q(workflow__in=titles))
    if model in TITLED:
        return queryset.filter(workflow__in=seen(Workflow).order_by().values("title"))
    if model in PERSONAL:
        return queryset.filter(**{PERSONAL[model]: user.pk if user else None})
    if model not in OWNERS:
        return queryset
    way, owner = OWNERS[model]
    if model is Execution:
        return queryset.filter(external_id__in=seen(owner).values("external_id"))
    found = queryset.filter(**{f"{way}__in": seen(owner)})
    return found.distinct() if model is Document else found


def _factory() -> Factory | None:
    dotted = settings.WORKFLOWHUB_PERMISSION_FACTORY
    return load(dotted)() if dotted else None  # type: ignore[operator]
