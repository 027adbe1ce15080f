"""Saved views: the tabs above the list of runs, and the pages that save, change and delete them."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse

from runs import actions
from runs.models import Preference, SavedView
from runs.policy import Actor
from tests.factories import make_run, make_user

pytestmark = pytest.mark.django_db
LIST, NEW = reverse("runs"), reverse("new_view")
HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture
def ada() -> Client:
    client = Client()
    client.force_login(make_user("viewer", username="ada"))
    return client


def view_of(
    username: str, name: str = "Broken", query: str = "state=FAILED", **kw: bool
) -> SavedView:
    user = SavedView._meta.get_field("user").related_model.objects.get(username=username)
    return actions.save_view(Actor(user=user), name=name, query=query, **kw)


def text(client: Client, url: str) -> str:
    answer = client.get(url)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_filter_is_saved_and_becomes_a_tab(ada: Client) -> None:
    assert f'{NEW}?state=FAILED"' in text(ada, f"{LIST}?state=FAILED")
    assert 'value="state:failed"' in text(ada, f"{NEW}?state=FAILED")
    answer = ada.post(NEW, {"name": "Broken", "text": "state:failed by:ada", "default": "on"})
    view = SavedView.objects.get()
    assert (view.query, view.shared, view.user.username) == ("state=FAILED&by=ada", False, "ada")
    assert answer["Location"] == f"{LIST}?state=FAILED&by=ada&view={view.pk}"
    assert Preference.objects.get().default_view == view
    page = text(ada, answer["Location"])
    assert f'view={view.pk}" aria-current="page">Broken<span class="why">(default)' in page
    assert "The view Broken is saved." in page


def test_mistakes_are_explained_in_the_form_and_nothing_is_saved(ada: Client) -> None:
    view_of("ada")
    for given, said in (
        ({"name": "", "text": ""}, "Give it a name."),
        ({"name": "a", "text": "stat:x"}, "did you mean state:?"),
        ({"name": "Broken", "text": ""}, "called “Broken” already"),
    ):
        answer = ada.post(NEW, given)
        assert answer.status_code == 400
        assert said in answer.content.decode()
        assert f'value="{given["text"]}"' in answer.content.decode()
    assert SavedView.objects.count() == 1


def test_a_tab_says_when_the_filter_was_changed_and_offers_to_overwrite(ada: Client) -> None:
    view = view_of("ada")
    page = text(ada, f"{LIST}?state=FAILED&by=ada&view={view.pk}")
    assert "changed</span>" in page
    edit = reverse("edit_view", args=[view.pk])
    assert f'href="{edit}?state=FAILED&amp;by=ada"' in page
    assert 'value="state:failed by:ada"' in text(ada, f"{edit}?state=FAILED&by=ada")
    given = {"name": "Broken", "text": "by:ada", "version": view.version}
    assert ada.post(edit, given).status_code == 302
    stale = ada.post(edit, {**given, "text": ""})
    assert "Somebody changed it meanwhile." in stale.content.decode()
    view.refresh_from_db()
    assert (view.query, view.version) == ("by=ada", 2)


def test_a_view_is_deleted_after_a_confirmation(ada: Client) -> None:
    view = view_of("ada", shared=True)
    url = reverse("delete_view", args=[view.pk])
    assert "It is shared: the others lose it too." in text(ada, url)
    ada.post(url, {"version": view.version + 1})
    assert SavedView.objects.exists()
    ada.post(url, {"version": view.version})
    assert not SavedView.objects.exists()


def test_the_list_opens_with_the_default_view_and_shows_the_way_to_all_runs(ada: Client) -> None:
    view = view_of("ada")
    default = reverse("set_default_view")
    assert ada.get(default).status_code == 405
    opened = ada.post(default, {"view": view.pk})["Location"]
    assert ada.get(LIST)["Location"] == opened == f"{LIST}?state=FAILED&view={view.pk}"
    assert f'href="{LIST}?view=all">All runs' in text(ada, opened)
    assert text(ada, f"{LIST}?view=all")
    assert text(ada, f"{LIST}?after=7")
    ada.post(default, {"view": ""})
    assert ada.get(LIST).status_code == 200


def test_a_default_view_that_is_no_longer_shared_is_left_alone(ada: Client) -> None:
    bob = make_user("viewer", username="bob")
    view = view_of("bob", shared=True)
    assert ada.post(reverse("set_default_view"), {"view": view.pk}).status_code == 302
    assert ada.get(LIST).status_code == 302
    actions.change_view(Actor(user=bob), view, shared=False)
    assert ada.get(LIST).status_code == 200


def test_somebody_elses_view_can_be_used_and_not_changed(ada: Client) -> None:
    make_user("viewer", username="bob")
    shared, own = view_of("bob", shared=True), view_of("bob", name="Own")
    page = text(ada, f"{LIST}?state=FAILED&view={shared.pk}")
    assert 'title="Shared by bob"' in page
    assert "only they and administrators change it" in page
    assert "Own" not in page
    edit, delete = (reverse(name, args=[shared.pk]) for name in ("edit_view", "delete_view"))
    for url in (edit, delete):
        assert "disabled" in text(ada, url)
        assert ada.post(url, {"name": "x", "text": "", "version": 1}).status_code == 403
        hidden = reverse("edit_view", args=[own.pk])
        assert ada.get(hidden).status_code == ada.post(hidden).status_code == 404
    assert sorted(SavedView.objects.values_list("name", flat=True)) == ["Broken", "Own"]


def test_who_has_no_role_saves_nothing(browser: Callable[..., Client]) -> None:
    nobody = browser(None)
    assert nobody.post(NEW, {"name": "a", "text": ""}).status_code == 403
    assert nobody.post(reverse("set_default_view"), {"view": ""}).status_code == 403
    assert not SavedView.objects.exists()


def test_hostile_names_and_filters_are_inert(ada: Client) -> None:
    ada.post(NEW, {"name": HOSTILE, "text": f'"{HOSTILE[:25]}"', "default": "on"})
    view = SavedView.objects.get()
    make_run()
    urls = [
        ada.get(LIST)["Location"],
        f"{LIST}?by=%22%3E%3Cscript%3E&view={view.pk}",
        reverse("edit_view", args=[view.pk]),
        reverse("delete_view", args=[view.pk]),
        reverse("account"),
    ]
    for url in urls:
        page = text(ada, url)
        assert "<script>alert" not in page
        assert '"><script' not in page


@pytest.mark.parametrize("view", ["x", "999999999999999999999", "-1", "%00", "<b>"])
def test_a_tab_that_is_not_there_is_no_error(ada: Client, view: str) -> None:
    assert "<b>" not in text(ada, f"{LIST}?view={view}").split("<main")[1].split("<form")[0]
    assert ada.post(reverse("set_default_view"), {"view": view}).status_code == 302
