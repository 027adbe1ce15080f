"""The audit log: who did what to which object."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs import actions, chain, keyset
from runs.models import AuditEntry
from runs.policy import Actor
from tests.factories import (
    make_bulk_job,
    make_engine,
    make_run,
    make_secret,
    make_user,
    make_variable,
    make_workflow,
)

URL = reverse("audit")
HOSTILE = "<script>alert(1)</script>\"'&\u202e"


def entry(**kw: object) -> AuditEntry:
    given = {"actor_name": "ada", "action": "edit", "object_kind": "hub", "face": "web", **kw}
    return AuditEntry.objects.create(**given)


def shown(client: Client, **asked: object) -> list[int]:
    """The keys of the entries on the page, as they come."""
    response = client.get(URL, asked)
    assert response.status_code == 200
    return [row.pk for row, _, _ in response.context["rows"]]


def text(client: Client, **asked: object) -> str:
    return client.get(URL, asked).content.decode()


def test_an_empty_log_says_so(admin: Client) -> None:
    assert "Nothing has been done yet" in text(admin)


def test_it_tells_who_did_what_to_which_object_through_what(admin: Client) -> None:
    engine = make_engine(name="lab")
    actions.edit_engine(Actor(user=make_user(username="ada")), engine, priority=3)
    (found,) = AuditEntry.objects.filter(action="edit")
    html = text(admin)
    assert ">ada</a>" in html
    assert "Command" in html
    assert f'Engine <a href="{reverse("engine", args=[engine.pk])}">lab</a>' in html
    assert "priority" in html
    assert f'id="entry-{found.pk}"' in html


def test_the_newest_comes_first_and_pages_lead_on_and_back(admin: Client) -> None:
    keys = [entry().pk for _ in range(60)][::-1]
    assert shown(admin) == keys[:50]
    assert shown(admin, after=keys[49]) == keys[50:]
    assert shown(admin, before=keys[50]) == keys[:50]


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        ({"actor": "ada"}, {"actor_name": "bob"}),
        ({"action": "edit"}, {"action": "delete"}),
        ({"face": "web"}, {"face": "api"}),
        ({"object_kind": "hub"}, {"object_kind": "engine"}),
        ({"object_kind": "hub", "object_id": "7"}, {"object_id": "8"}),
        ({"object_id": "7"}, {"object_id": "77"}),
    ],
)
def test_a_filter_keeps_what_fits(
    admin: Client, asked: dict[str, str], other: dict[str, str]
) -> None:
    wanted = entry(object_id="7")
    entry(**{"object_id": "7", **other})
    assert shown(admin, **asked) == [wanted.pk]


def test_a_while_is_asked_for_by_its_ends(admin: Client) -> None:
    now = timezone.now()
    old, new = (entry(at=now - timedelta(days=days)).pk for days in (9, 1))
    assert shown(admin, since="2d") == [new]
    assert shown(admin, until="2d") == [old]
    assert shown(admin, since="10d", until=now.isoformat()) == [new, old]


def test_what_is_no_time_is_explained_and_the_rest_applies(admin: Client) -> None:
    found = entry()
    entry(actor_name="bob")
    assert shown(admin, since="soon", actor="ada") == [found.pk]
    assert "Since: “soon” is no time" in text(admin, since="soon")


def test_what_no_index_leads_to_is_looked_through_in_steps(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyset, "REACH", 3)
    now = timezone.now()
    first = entry(actor_name="bob", object_id="7", at=now - timedelta(days=9))
    for _ in range(6):
        entry(at=now - timedelta(days=1))
    html = text(admin, actor="bob")
    assert "3 entries that were looked through none fits" in html
    assert "Look further back" in html
    assert shown(admin, object_kind="hub", object_id="7") == [first.pk]


def test_it_does_not_offer_to_look_further_back_than_was_asked_for(
    admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keyset, "REACH", 3)
    now = timezone.now()
    for days in (9, 9, 9, 1, 1, 1, 1):
        entry(at=now - timedelta(days=days))
    assert len(shown(admin, since="2d")) == 4
    assert "Look further back" not in text(admin, since="2d")
    assert "Look further back" in text(admin, since="10d")


def test_only_what_is_there_still_is_linked(admin: Client) -> None:
    run = make_run(make_workflow({"a": []}, title="etl"), engine=make_engine())
    kept = [run, run.workflow, run.engine, make_secret(), make_variable(), make_bulk_job()]
    for one in kept:
        kind = one._meta.model_name
        entry(object_kind=kind, object_id=str(one.pk), object_name=f"kept {kind}")
        entry(object_kind=kind, object_id="987654", object_name=f"gone {kind}")
    html = text(admin)
    for one in kept:
        assert f">kept {one._meta.model_name}</a>" in html
        assert f">gone {one._meta.model_name}</a>" not in html
    assert f'href="{reverse("workflow", args=["etl"])}?version=1"' in html


def test_it_tells_what_the_chain_of_hashes_covers(admin: Client) -> None:
    covered = entry()
    chain.extend()
    entry()
    html = text(admin)
    digest = AuditEntry.objects.get(pk=covered.pk).digest
    assert html.count("<span>Covered</span>") == 1
    assert html.count("<span>Not yet</span>") == 1
    assert digest in html


def test_hostile_words_are_inert(admin: Client) -> None:
    told = {"action": HOSTILE, "object_kind": HOSTILE, "object_name": HOSTILE}
    entry(actor_name=HOSTILE, detail={HOSTILE: HOSTILE}, **told)
    assert "\u202e" not in text(admin)
    for html in (text(admin), text(admin, actor=HOSTILE, object_kind=HOSTILE, since=HOSTILE)):
        assert "<script>alert" not in html
    assert shown(admin, actor="a\x00da", after="x", object_id="9" * 99) == []


@pytest.mark.parametrize("role", ["viewer", "operator", "editor", None])
def test_all_but_administrators_are_refused_with_the_reason(
    browser: Callable[..., Client], role: str | None
) -> None:
    client = browser(role)
    refused = client.get(URL)
    assert refused.status_code == 403
    assert "may not read the audit log" in refused.content.decode()
    assert f'href="{URL}"' not in client.get(reverse("workflows")).content.decode()


def test_administrators_find_it_in_their_menu(admin: Client) -> None:
    assert f'href="{URL}"' in admin.get(reverse("workflows")).content.decode()


@pytest.mark.django_db
def test_strangers_log_in_first(client: Client) -> None:
    assert client.get(URL)["Location"].startswith(reverse("login"))


def test_it_is_only_read(admin: Client) -> None:
    assert admin.post(URL).status_code == 405


def test_its_queries_do_not_grow_with_the_rows(
    admin: Client, django_assert_max_num_queries: Callable[..., object]
) -> None:
    for _ in range(3):
        for one in (make_run(engine=make_engine()), make_secret(), make_bulk_job()):
            entry(object_kind=one._meta.model_name, object_id=str(one.pk))
            one.delete()
    with django_assert_max_num_queries(
        7
    ):  # session, user, role; where it begins and ends; rows; links
        assert admin.get(URL, {"actor": "ada"}).status_code == 200
