"""Engines in the browser."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from engines.base import CAPABILITIES
from engines.models import Engine, EngineJob
from engines.registry import adapters
from tests.factories import make_engine, make_run, make_workflow

SECRET = "hunter2-canary"


def kind_with_secret() -> tuple[str, str, dict[str, str]]:
    """A kind that declares a secret, that secret's name, and settings that it takes."""
    for kind, adapter in adapters().items():
        for field in adapter.fields:
            if field.secret:
                data = {
                    f"c.{one.name}": "http://127.0.0.1:9"
                    for one in adapter.fields
                    if one.required and not one.secret
                }
                return kind, field.name, data
    pytest.fail("No adapter declares a secret: the test has nothing to look at.")


def form(**kw: str) -> dict[str, str]:
    return {"name": "remote-1", "priority": "10", "enabled": "on", "accepts_runs": "on", **kw}


def test_the_list_shows_health_and_what_each_can(admin: Client) -> None:
    engine = make_engine(health="unhealthy", health_message="No route to host")
    html = admin.get(reverse("engines")).content.decode()
    assert engine.name in html
    assert "No route to host" in html
    assert "Retry one task" in html


def test_every_kind_can_be_registered(admin: Client) -> None:
    html = admin.get(reverse("new_engine")).content.decode()
    for kind in adapters():
        assert f"?kind={kind}" in html
        assert admin.get(f"{reverse('new_engine')}?kind={kind}").status_code == 200
    assert admin.get(f"{reverse('new_engine')}?kind=fortran").status_code == 404


def test_a_secret_is_kept_and_never_shown(admin: Client) -> None:
    kind, secret, data = kind_with_secret()
    url = f"{reverse('new_engine')}?kind={kind}"
    admin.post(url, form(**data, **{f"c.{secret}": SECRET}))
    engine = Engine.objects.get(name="remote-1")
    assert engine.secrets == {secret: SECRET}
    for page in ("engine", "edit_engine"):
        assert SECRET not in admin.get(reverse(page, args=[engine.pk])).content.decode()
    assert "Kept; type to replace it" in (
        admin.get(reverse("edit_engine", args=[engine.pk])).content.decode()
    )
    admin.post(reverse("edit_engine", args=[engine.pk]), form(**data, version="1", priority="7"))
    engine.refresh_from_db()
    assert engine.secrets == {secret: SECRET}
    assert engine.priority == 7


def test_saving_asks_for_a_test_of_the_connection(admin: Client) -> None:
    kind, secret, data = kind_with_secret()
    url = f"{reverse('new_engine')}?kind={kind}"
    admin.post(url, form(**data, **{f"c.{secret}": SECRET}))
    assert EngineJob.objects.get().action == EngineJob.Action.TEST


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "Not A Name"}, "Use small letters"),
        ({"priority": "high"}, "A whole number."),
        ({"selector": "a=("}, "Expected a comma"),
    ],
)
def test_what_is_wrong_is_told_at_its_field(
    admin: Client, change: dict[str, str], said: str
) -> None:
    kind, secret, data = kind_with_secret()
    url = f"{reverse('new_engine')}?kind={kind}"
    response = admin.post(url, form(**data, **{f"c.{secret}": SECRET}, **change))
    assert response.status_code == 400
    html = response.content.decode()
    assert said in html
    assert SECRET not in html
    assert not Engine.objects.exists()


def test_a_missing_setting_is_told_at_its_field(admin: Client) -> None:
    kind, _, data = kind_with_secret()
    response = admin.post(f"{reverse('new_engine')}?kind={kind}", form())
    if data:
        assert response.status_code == 400
        assert "is required." in response.content.decode()


def test_settings_are_tested_before_they_are_saved(admin: Client, operator: Client) -> None:
    kind, secret, data = kind_with_secret()
    url = f"{reverse('new_engine')}?kind={kind}"
    response = admin.post(url, form(**data, **{f"c.{secret}": SECRET}, do="test"))
    job = EngineJob.objects.get()
    assert response.context["job"] == job
    assert SECRET not in response.content.decode()
    assert not Engine.objects.exists()
    address = reverse("engine_job", args=[job.pk])
    assert f'hx-get="{address}?v=' in response.content.decode()
    EngineJob.objects.update(state="failed", message="No connection to 127.0.0.1:9.")
    html = admin.get(f"{address}?v=old", headers={"HX-Request": "true"}).content.decode()
    assert "No connection to 127.0.0.1:9." in html
    assert "hx-trigger" not in html
    assert operator.get(address).status_code == 404


@pytest.mark.parametrize("action", ["test", "sync"])
def test_it_is_asked_once_however_often_the_button_is_pressed(
    operator: Client, action: str
) -> None:
    engine = make_engine()
    for _ in range(2):
        operator.post(reverse("ask_engine", args=[engine.pk]), {"action": action})
    assert EngineJob.objects.get().action == action
    html = operator.get(reverse("engine", args=[engine.pk])).content.decode()
    assert "Waiting" in html


def test_nobody_can_ask_it_anything_else(admin: Client) -> None:
    engine = make_engine()
    url = reverse("ask_engine", args=[engine.pk])
    assert admin.post(url, {"action": "explode"}).status_code == 404
    assert (
        admin.post(reverse("switch_engine", args=[engine.pk]), {"what": "kind"}).status_code == 404
    )


def test_it_is_switched_off_and_a_stale_switch_is_refused(admin: Client) -> None:
    engine = make_engine()
    url = reverse("switch_engine", args=[engine.pk])
    admin.post(url, {"what": "enabled", "to": "0", "version": engine.version})
    stale = {"what": "enabled", "to": "1", "version": engine.version}
    assert "meanwhile" in admin.post(url, stale, follow=True).content.decode()
    engine.refresh_from_db()
    assert not engine.enabled


def test_an_engine_with_history_is_not_deleted(admin: Client) -> None:
    engine = make_engine()
    make_run(make_workflow(), engine=engine)
    url = reverse("delete_engine", args=[engine.pk])
    assert "Disable it instead." in admin.get(url).content.decode()
    assert "Disable it instead." in admin.post(url, follow=True).content.decode()
    assert Engine.objects.filter(pk=engine.pk).exists()


def test_an_unused_engine_is_deleted_after_a_question(admin: Client) -> None:
    engine = make_engine(name="unused")
    url = reverse("delete_engine", args=[engine.pk])
    assert "Delete the engine unused?" in admin.get(url).content.decode()
    admin.post(url)
    assert not Engine.objects.exists()


def test_unchanged_polls_are_empty(admin: Client) -> None:
    engine = make_engine()
    for url in (reverse("engines"), reverse("engine", args=[engine.pk])):
        token = admin.get(url).context["token"]
        same = admin.get(f"{url}?v={token}", headers={"HX-Request": "true"})
        assert same.status_code == 204


def test_an_operator_asks_but_does_not_manage(operator: Client) -> None:
    engine = make_engine()
    html = operator.get(reverse("engine", args=[engine.pk])).content.decode()
    assert "The role operator may not manage engines." in html
    assert operator.post(reverse("delete_engine", args=[engine.pk])).status_code == 403


def test_the_list_says_what_each_has_to_do_and_how_far_the_hub_is_behind(admin: Client) -> None:
    now = timezone.now()
    stale = make_engine(name="stale", observed_at=now - timedelta(minutes=5))
    fresh = make_engine(name="fresh", observed_at=now - timedelta(seconds=2))
    make_engine(name="idle", observed_at=now - timedelta(days=3))
    for engine in (stale, fresh):
        make_run(engine=engine, state="RUNNING", scheduled_at=now - timedelta(hours=1))
        make_run(engine=engine)
    response = admin.get(reverse("engines"))
    lags = {engine.name: engine.lags for engine in response.context["engines"]}
    assert lags == {"stale": True, "fresh": False, "idle": False}
    html = response.content.decode()
    assert html.count("<span>lags <time") == 1
    assert html.count("2 active</a>, 1 waiting") == 2
    assert "It has no runs to look at" in html


def test_the_list_changes_when_nobody_looks_at_runs_any_more(admin: Client) -> None:
    now = timezone.now()
    engine = make_engine(observed_at=now)
    make_run(engine=engine, state="RUNNING", scheduled_at=now - timedelta(hours=1))
    token = admin.get(reverse("engines")).context["token"]
    poll = {"HX-Request": "true"}
    assert admin.get(f"{reverse('engines')}?v={token}", headers=poll).status_code == 204
    Engine.objects.update(observed_at=now - timedelta(minutes=5))
    assert admin.get(f"{reverse('engines')}?v={token}", headers=poll).status_code == 200


def test_what_all_can_is_folded_and_what_tells_them_apart_is_shown(admin: Client) -> None:
    table = dict.fromkeys(CAPABILITIES, True) | {"deploy": "It keeps none."}
    make_engine(capabilities=table)
    html = admin.get(reverse("engines")).content.decode()
    assert "The same for all" not in html  # of one engine everything is shown
    make_engine(capabilities={**table, "cancel_task": "It stops whole runs only."})
    response = admin.get(reverse("engines"))
    matrix = response.context["matrix"]
    assert [label for label, _ in matrix.apart] == [CAPABILITIES["cancel_task"]]
    assert len(matrix.same) == len(CAPABILITIES) - 1
    html = response.content.decode()
    assert "It stops whole runs only." in html
    assert '<th scope="row">Import runs</th>' not in html
    whole = admin.get(f"{reverse('engines')}?same").content.decode()
    assert '<th scope="row">Import runs</th>' in whole
    assert f"{reverse('engines')}?v=" in whole
    assert "&amp;same" in whole  # the poll keeps it


def test_twelve_engines_with_long_names_and_without_any_are_shown(admin: Client) -> None:
    assert "nothing can run" in admin.get(reverse("engines")).content.decode()
    for number in range(12):
        make_engine(name=f"{number:02d}{'x' * 61}")
    response = admin.get(reverse("engines"))
    assert response.status_code == 200
    assert response.content.decode().count("<tr data-row>") == 12


def test_the_buttons_of_a_row_come_back_to_the_list(admin: Client) -> None:
    engine = make_engine(name="far")
    there = reverse("engines")
    ask = reverse("ask_engine", args=[engine.pk])
    response = admin.post(ask, {"action": "sync", "next": there}, follow=True)
    assert response.redirect_chain == [(there, 302)]
    assert "Sync now: asked of far." in response.content.decode()
    switch = {"what": "accepts_runs", "to": "0", "version": engine.version, "next": there}
    html = admin.post(reverse("switch_engine", args=[engine.pk]), switch, follow=True)
    assert "Resume<span" in html.content.decode()
    engine.refresh_from_db()
    assert not engine.accepts_runs
    outside = admin.post(ask, {"action": "sync", "next": "https://elsewhere.example/"})
    assert outside.headers["Location"] == reverse("engine", args=[engine.pk])


def test_nothing_is_asked_by_a_get_nor_by_a_viewer(admin: Client, viewer: Client) -> None:
    engine = make_engine()
    for name in ("ask_engine", "switch_engine"):
        url = reverse(name, args=[engine.pk])
        assert admin.get(url).status_code == 405
        data = {"action": "sync", "what": "accepts_runs", "to": "0"}
        assert viewer.post(url, data).status_code == 403
    engine.refresh_from_db()
    assert engine.accepts_runs
    assert not EngineJob.objects.exists()
    html = viewer.get(reverse("engines")).content.decode()
    assert html.count('disabled title="The role viewer may not') >= 3
