"""Every table can be looked at, nothing can be edited, no secret is shown."""

import re

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from runs.admin.base import CappedPaginator, ReadOnlyAdmin
from runs.models import ApiToken, AuditEntry, Label, RunEvent, WorkflowRun
from runs.models.access import Role
from tests.admin.objects import one_of_each
from tests.factories import make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db
MODELS = [
    model
    for label in ("runs", "engines", "dag")
    for model in apps.get_app_config(label).get_models()
]


def url(model, page, *args):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


@pytest.fixture
def staff(client):
    user = make_user(Role.ADMINISTRATOR, is_staff=True)
    client.force_login(user)
    return client


def test_every_model_of_the_hub_is_listed():
    assert [model for model in MODELS if not admin.site.is_registered(model)] == []


def test_the_pickled_tables_of_django_q2_are_not_listed():
    models = apps.get_app_config("django_q").get_models()
    assert [model for model in models if admin.site.is_registered(model)] == []


def test_the_first_page_lists_the_tables(staff):
    page = staff.get(reverse("admin:index"))
    assert b"Workflow runs" in page.content
    assert b"Executions" in page.content


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_each_list_opens_and_each_object_is_shown(staff, model):
    obj, _ = one_of_each()[model]
    page = staff.get(url(model, "changelist"))
    assert page.status_code == 200
    assert len(page.context["cl"].result_list) >= 1
    assert staff.get(url(model, "change", quote(obj.pk))).status_code == 200


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_search_finds_an_object_and_leaves_out_others(staff, model):
    obj, term = one_of_each()[model]
    found = staff.get(url(model, "changelist"), {"q": term})
    assert obj in found.context["cl"].result_list
    nothing = staff.get(url(model, "changelist"), {"q": "no-such-thing-anywhere"})
    assert list(nothing.context["cl"].result_list) == []


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_filter_of_a_list_works(staff, model):
    one_of_each()
    page = staff.get(url(model, "changelist"))
    for spec in page.context["cl"].filter_specs:
        for choice in spec.choices(page.context["cl"]):
            answer = staff.get(url(model, "changelist") + choice["query_string"])
            assert answer.status_code == 200


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_post_to_an_object_s_page_changes_and_deletes_nothing(staff, model):
    obj, _ = one_of_each()[model]
    fields = {field.name: "" for field in model._meta.fields}
    assert staff.post(url(model, "change", quote(obj.pk)), fields).status_code == 403
    assert staff.post(url(model, "delete", quote(obj.pk)), {"post": "yes"}).status_code == 403
    fresh = model.objects.get(pk=obj.pk)
    assert all(
        getattr(fresh, field.attname) == getattr(obj, field.attname)
        for field in model._meta.fields
        if field.name != "updated_at"
    )


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_no_page_shows_a_secret(staff, model):
    obj, _ = one_of_each()[model]
    digest = ApiToken.objects.get().digest
    for address in (url(model, "changelist"), url(model, "change", quote(obj.pk))):
        text = staff.get(address).content.decode()
        assert "canary" not in text
        assert digest not in text


@pytest.mark.parametrize("model", [RunEvent, AuditEntry])
def test_history_is_append_only(staff, model):
    obj, _ = one_of_each()[model]
    assert staff.get(url(model, "add")).status_code == 403
    chosen = {"action": "delete_selected", "_selected_action": [obj.pk], "post": "yes"}
    staff.post(url(model, "changelist"), chosen)
    assert model.objects.filter(pk=obj.pk).exists()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_a_list_costs_the_same_few_queries_however_long_it_is(staff, model):
    one_of_each()
    staff.get(url(model, "changelist"))
    with CaptureQueriesContext(
        connection,
    ) as few:
        staff.get(url(model, "changelist"))
    for _ in range(3):
        make_run(make_workflow(labels={"team": "chemistry"}))
    with CaptureQueriesContext(connection) as many:
        staff.get(url(model, "changelist"))
    assert len(many) == len(few) <= 10


def test_a_list_never_counts_the_whole_table(staff):
    one_of_each()
    with CaptureQueriesContext(connection) as queries:
        staff.get(url(WorkflowRun, "changelist"))
    counts = [query["sql"] for query in queries if "COUNT(" in query["sql"]]
    assert counts
    assert all("LIMIT" in sql for sql in counts)


def test_counts_stop_at_the_cap(monkeypatch):
    Label.objects.bulk_create(Label(key=f"k{n}") for n in range(8))
    monkeypatch.setattr(CappedPaginator, "MOST", 5)
    assert CappedPaginator(Label.objects.all(), 2).count == 5


def test_no_list_sorts_by_a_column_that_has_no_index():
    for model in MODELS:
        page = admin.site._registry[model]
        assert isinstance(page, ReadOnlyAdmin)
        assert page.ordering in {("-pk",), ("name",), ("-started_at",)}, model
        assert page.sortable_by == ()


def test_history_of_an_object_is_its_audit_log(staff):
    run, _ = one_of_each()[WorkflowRun]
    answer = staff.get(url(WorkflowRun, "history", run.pk))
    assert answer.url == f"{url(AuditEntry, 'changelist')}?q=workflowrun+{run.pk}"


def test_who_is_not_staff_stays_out(client):
    client.force_login(make_user(Role.ADMINISTRATOR))
    answer = client.get(url(WorkflowRun, "changelist"))
    assert answer.status_code == 302
    assert "login" in answer.url


def test_staff_with_a_lower_role_see_what_policy_allows(client):
    rows = one_of_each()
    client.force_login(make_user(Role.VIEWER, is_staff=True))
    assert client.get(url(WorkflowRun, "changelist")).status_code == 200
    assert client.get(url(AuditEntry, "changelist")).status_code == 403
    assert client.get(url(ApiToken, "changelist")).status_code == 403
    page = client.get(url(WorkflowRun, "change", rows[WorkflowRun][0].pk))
    assert page.context["deeds"] == []


def test_staff_without_a_role_see_nothing(client):
    client.force_login(make_user(None, is_staff=True))
    assert client.get(url(WorkflowRun, "changelist")).status_code == 403
    assert b"Workflow runs" not in client.get(reverse("admin:index")).content


class OnlyPhysics:
    def allow(self, user, action, obj):
        return True

    def visible(self, user, queryset):
        if queryset.model is WorkflowRun:
            return queryset.filter(labels__value="physics")
        return queryset


def test_what_a_permission_factory_hides_is_not_there(staff, settings):
    settings.WORKFLOWHUB_PERMISSION_FACTORY = f"{__name__}:OnlyPhysics"
    mine, other = make_run(labels={"team": "physics"}), make_run()
    page = staff.get(url(WorkflowRun, "changelist"))
    assert list(page.context["cl"].result_list) == [mine]
    missing = staff.get(url(WorkflowRun, "change", other.pk), follow=True)
    assert b"doesn\xe2\x80\x99t exist" in missing.content or missing.status_code == 404


def test_pages_have_no_inline_script_or_style(staff):
    run, _ = one_of_each()[WorkflowRun]
    for address in (
        reverse("admin:index"),
        url(WorkflowRun, "changelist"),
        url(WorkflowRun, "change", run.pk),
        url(WorkflowRun, "deed", run.pk, "mark"),
    ):
        answer = staff.get(address)
        text = answer.content.decode()
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]
        assert "<style" not in text
        assert " style=" not in text
        assert " onclick=" not in text
        assert [tag for tag in re.findall("<script[^>]*>", text) if " src=" not in tag] == []
