"""The page of secrets and variables, and what other pages say of them."""

import pytest
from django.urls import reverse

from engines.secrets import decrypt
from runs import actions
from runs.models import Secret, Variable, WorkflowRun
from runs.models.access import Role
from runs.policy import Actor
from tests.factories import make_secret, make_variable, make_workflow

pytestmark = pytest.mark.django_db
VALUE = "plain-secret-5e8f"
PAGE = "/secrets/"


def post(title="etl", **arguments):
    arguments = arguments or {"token": "${secrets.token}", "stage": "${vars.stage}"}
    steps = [{"name": "a", "handler": "python", "with": {"callable": "f", **arguments}}]
    return actions.post_workflow(Actor(), definition={"title": title, "steps": steps})[0]


def text_of(answer):
    return answer.content.decode()


def test_without_any_the_page_says_so_and_offers_the_first(admin):
    page = text_of(admin.get(PAGE))
    assert "No secret is stored." in page
    assert "No variable is stored." in page
    assert reverse("new_secret") in page


def test_the_page_lists_what_is_there_who_uses_it_and_what_is_missing(admin):
    post("etl")
    post("report", token="${secrets.token}")
    make_secret(description="For the API.")
    make_variable(value="production", workflow="etl")
    make_secret("unused", workflow="report")
    page = text_of(admin.get(PAGE))
    assert "For the API." in page
    assert "production" in page
    assert "all workflows" in page
    assert "Not there yet" not in page
    Secret.objects.filter(name="token").delete()
    page = text_of(admin.get(PAGE))
    assert "Not there yet" in page
    assert f"{reverse('new_secret')}?name=token&amp;workflow=etl" in page
    only = text_of(admin.get(PAGE, {"workflow": "report"}))
    assert "unused" in only
    assert "production" not in only


def test_a_secret_of_the_workflow_takes_the_place_of_the_one_for_all(admin):
    post("etl", token="${secrets.token}")
    make_secret()
    make_secret(workflow="etl")
    rows = admin.get(PAGE).context["secrets"]
    assert [(row.stored.workflow, row.users) for row in rows] == [("", []), ("etl", ["etl"])]


def test_the_page_costs_the_same_however_many_there_are(admin, django_assert_max_num_queries):
    post()
    for number in range(20):
        make_secret(f"s{number}")
        make_variable(f"v{number}")
    with django_assert_max_num_queries(8):
        admin.get(PAGE)


def test_a_secret_is_typed_in_and_never_shown(admin):
    form = admin.get(reverse("new_secret"), {"name": "token"})
    assert 'value="token"' in text_of(form)
    answer = admin.post(
        reverse("new_secret"), {"name": "token", "value": f"{VALUE}\r\n", "description": "x"}
    )
    assert answer["Location"] == PAGE
    secret = Secret.objects.get()
    assert decrypt(secret.encrypted) == VALUE
    for url in (PAGE, reverse("edit_secret", args=[secret.pk])):
        page = text_of(admin.get(url))
        assert VALUE not in page
        assert secret.encrypted not in page


def test_a_key_of_several_lines_keeps_them_as_they_are(admin):
    admin.post(reverse("new_secret"), {"name": "key", "value": "first line\r\nsecond line\r\n"})
    assert decrypt(Secret.objects.get().encrypted) == "first line\nsecond line\n"


def test_a_secret_that_is_refused_isnt_sent_back(admin):
    answer = admin.post(reverse("new_secret"), {"name": "a b", "value": VALUE})
    assert answer.status_code == 400
    page = text_of(answer)
    assert "1 to 100 letters" in page
    assert 'value="a b"' in page
    assert "Type the secret again" in page
    assert VALUE not in page


def test_a_secret_is_replaced_and_one_left_empty_is_kept(admin):
    secret = make_secret(value=VALUE)
    url = reverse("edit_secret", args=[secret.pk])
    admin.post(url, {"value": "", "description": "Kept."})
    secret.refresh_from_db()
    assert (decrypt(secret.encrypted), secret.description) == (VALUE, "Kept.")
    admin.post(url, {"value": "another-value", "description": ""})
    secret.refresh_from_db()
    assert decrypt(secret.encrypted) == "another-value"
    assert admin.post(url, {"value": "tiny5"}).status_code == 400


def test_a_variable_is_made_edited_and_may_be_emptied(admin):
    make_workflow(title="etl")
    admin.post(reverse("new_variable"), {"name": "stage", "value": "blue", "workflow": "etl"})
    variable = Variable.objects.get()
    url = reverse("edit_variable", args=[variable.pk])
    assert "blue" in text_of(admin.get(url))
    admin.post(url, {"value": "", "description": "d"})
    variable.refresh_from_db()
    assert (variable.value, variable.description, variable.workflow) == ("", "d", "etl")


@pytest.mark.parametrize("kind", ["secret", "variable"])
def test_two_who_edit_or_delete_the_same_are_told(admin, kind):
    stored = make_secret(value=VALUE) if kind == "secret" else make_variable()
    edit = reverse(f"edit_{kind}", args=[stored.pk])
    delete = reverse(f"delete_{kind}", args=[stored.pk])
    for url in (edit, delete):
        assert 'name="version" value="1"' in text_of(admin.get(url))
    given = {"value": "another-value", "description": "", "version": "1"}
    assert admin.post(edit, given).status_code == 302
    late = admin.post(edit, {"value": "a-third-value", "description": "late", "version": "1"})
    assert late.status_code == 400
    assert "Somebody changed it meanwhile" in text_of(late)
    told = admin.post(delete, {"version": "1"}, follow=True)
    assert "Somebody changed it meanwhile" in text_of(told)
    stored.refresh_from_db()
    kept = decrypt(stored.encrypted) if kind == "secret" else stored.value
    assert (kept, stored.description, stored.version) == ("another-value", "", 2)
    admin.post(delete, {"version": "2"})
    assert not type(stored).objects.exists()


@pytest.mark.parametrize("kind", ["secret", "variable"])
def test_deleting_asks_first_and_names_who_needs_it(admin, kind):
    post("etl")
    stored = make_secret() if kind == "secret" else make_variable()
    url = reverse(f"delete_{kind}", args=[stored.pk])
    assert "Workflows that refer to it can&#x27;t be started without it: etl." in text_of(
        admin.get(url)
    )
    assert type(stored).objects.exists()
    assert admin.post(url)["Location"] == PAGE
    assert not type(stored).objects.exists()


def test_an_editor_has_the_buttons_of_a_workflows_own_only(browser):
    post("etl")
    own, shared = make_secret(workflow="etl"), make_secret()
    editor = browser(Role.EDITOR)
    rows = {row.stored.pk: row.reason for row in editor.get(PAGE).context["secrets"]}
    assert rows[own.pk] == ""
    assert "may not manage secrets" in rows[shared.pk]
    assert (
        editor.post(reverse("edit_secret", args=[shared.pk]), {"value": VALUE}).status_code == 403
    )
    assert editor.post(reverse("delete_secret", args=[shared.pk])).status_code == 403
    assert editor.post(reverse("new_secret"), {"name": "a", "value": VALUE}).status_code == 403
    given = {"name": "a", "value": VALUE, "workflow": "etl"}
    assert editor.post(reverse("new_secret"), given).status_code == 302


def test_a_viewer_sees_the_names_and_changes_nothing(viewer):
    secret, variable = make_secret(), make_variable()
    assert "production" in text_of(viewer.get(PAGE))
    for url in (
        reverse("new_secret"),
        reverse("new_variable"),
        reverse("edit_secret", args=[secret.pk]),
        reverse("edit_variable", args=[variable.pk]),
        reverse("delete_secret", args=[secret.pk]),
        reverse("delete_variable", args=[variable.pk]),
    ):
        assert viewer.get(url).status_code == 200
        assert viewer.post(url, {"name": "x", "value": VALUE}).status_code == 403
    assert (Secret.objects.count(), Variable.objects.count()) == (1, 1)


def test_a_workflows_page_says_what_it_lacks_and_where_the_rest_is_from(admin):
    workflow = post("etl")
    make_variable()
    page = text_of(admin.get(reverse("workflow", args=["etl"]), {"tab": "parameters"}))
    assert "It can't be started" in page
    assert f"{reverse('new_secret')}?name=token&amp;workflow=etl" in page
    assert "not there" in page
    assert "of all workflows" in page
    make_secret(workflow=workflow.title)
    page = text_of(admin.get(reverse("workflow", args=["etl"]), {"tab": "parameters"}))
    assert "It can't be started" not in page
    assert "of this workflow" in page


def test_the_start_page_says_what_is_missing_before_and_after(admin):
    post("etl")
    url = reverse("start_run", args=["etl"])
    assert "It can only be held" in text_of(admin.get(url))
    answer = admin.post(url, {})
    assert answer.status_code == 400
    assert "There is no secret token for etl." in text_of(answer)
    assert not WorkflowRun.objects.exists()
    assert admin.post(url, {"hold": "on"}).status_code == 302
    make_secret()
    make_variable()
    assert "It can only be held" not in text_of(admin.get(url))
