"""/saved-views and /me."""

import pytest

from runs.models import Preference, SavedView
from tests.factories import make_user

NEW = {"name": "Broken", "query": "query=state:failed since:24h"}


def test_a_view_is_saved_listed_changed_and_deleted(api):
    made = api.post("saved-views", NEW)
    assert made.status_code == 201
    body = made.json()
    assert made["Location"] == f"/api/v1/saved-views/{body['id']}"
    assert made["ETag"] == '"1"'
    assert set(body) == {
        "id", "name", "query", "shared", "owner", "created_at", "updated_at", "version",
    }  # fmt: skip
    assert (body["query"], body["owner"]) == ("state=FAILED&since=24h", api.user.username)
    url = f"saved-views/{body['id']}"
    assert api.get(url).json() == body
    assert api.get("saved-views").json()["results"] == [body]
    assert api.get("saved-views?shared=true&name=Broken").json()["results"] == []
    changed = api.patch(url, {"shared": True, "query": ""}, headers={"if-match": '"1"'})
    assert (changed.json()["shared"], changed.json()["query"]) == (True, "")
    stale = api.patch(url, {"name": "x"}, headers={"if-match": '"1"'})
    assert stale.status_code == api.delete(url, headers={"if-match": '"1"'}).status_code == 412
    assert api.delete(url).status_code == 204
    assert api.get(url).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"query": ""}, "name"),
        ({"name": "a"}, "query"),
        ({"name": "a", "query": "state=SLEEPING"}, "query"),
        ({"name": "a", "query": "q=%00x" + "y" * 201}, "query"),
        ({"name": "a", "query": "", "shared": "yes"}, "shared"),
        ({"name": "a", "query": "", "user": 1}, "user"),
    ],
)
def test_bad_input_names_the_field(api, body, field):
    answer = api.post("saved-views", body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert not SavedView.objects.exists()


def test_the_same_name_twice_is_a_conflict(api):
    assert api.post("saved-views", NEW).status_code == 201
    assert api.post("saved-views", NEW).status_code == 409


def test_a_shared_view_is_everybodys_to_read_and_its_owners_to_change(caller):
    owner, other = caller("viewer"), caller("operator")
    shared = owner.post("saved-views", {**NEW, "shared": True}).json()["id"]
    own = owner.post("saved-views", {**NEW, "name": "Mine"}).json()["id"]
    assert other.get(f"saved-views/{shared}").status_code == 200
    assert other.patch(f"saved-views/{shared}", {"name": "x"}).status_code == 403
    assert other.delete(f"saved-views/{shared}").status_code == 403
    for answer in (other.get(f"saved-views/{own}"), other.delete(f"saved-views/{own}")):
        assert answer.status_code == 404


def test_me_says_who_asks_and_what_they_chose(caller):
    viewer = caller("viewer")
    assert viewer.get("me").json() == {
        "username": viewer.user.username,
        "role": "viewer",
        "time_zone": "",
        "default_view": None,
    }
    pk = viewer.post("saved-views", NEW).json()["id"]
    given = {"time_zone": "Europe/Berlin", "default_view": pk}
    assert viewer.patch("me", given).json().items() >= given.items()
    assert viewer.patch("me", {"default_view": None}).json()["default_view"] is None
    assert viewer.get("me").json()["time_zone"] == "Europe/Berlin"


@pytest.mark.parametrize(
    "body", [{"time_zone": "Mars"}, {"default_view": 10**9}, {"default_view": 0}, {"role": "x"}]
)
def test_settings_that_cant_be_are_refused(api, body):
    assert api.patch("me", body).status_code == 400
    assert not Preference.objects.exclude(time_zone="", default_view=None).exists()


@pytest.mark.django_db
def test_times_of_the_api_stay_in_utc_whoever_asks(client):
    user = make_user()
    Preference.objects.create(user=user, time_zone="Asia/Tokyo")
    view = SavedView.objects.create(user=user, name="a")
    client.force_login(user)
    body = client.get(f"/api/v1/saved-views/{view.pk}").json()
    assert body["created_at"].endswith("Z")
