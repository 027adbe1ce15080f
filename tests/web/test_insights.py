"""The page of figures."""

from datetime import timedelta

from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs.figures import bucket_of
from runs.models import HourlyRollup
from tests.factories import make_engine

URL = reverse("insights")
HOSTILE = "<script>alert(1)</script>"


def ended(workflow: str = "genome", engine: str = "cluster", hours: int = 0, **counts: int) -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    completed = counts.get("completed", 0)
    HourlyRollup.objects.create(
        hour=now - timedelta(hours=hours),
        workflow=workflow,
        engine=engine,
        seconds=90 * completed,
        durations=[[bucket_of(90), completed]] if completed else [],
        **counts,
    )


def test_a_hub_where_nothing_ended_says_so(viewer: Client) -> None:
    html = viewer.get(URL).content.decode()
    assert "Nothing has ended in the last 7 days." in html
    assert "Figures appear here when runs end." in html
    assert "Choose a longer time" in viewer.get(f"{URL}?workflow=x").content.decode()


def test_it_tells_how_many_ended_how_and_how_long_they_took(viewer: Client) -> None:
    make_engine(name="cluster")
    ended(completed=30, failed=10, canceled=2)
    html = viewer.get(URL).content.decode()
    assert "30 completed" in html and "10 failed" in html and "2 canceled" in html
    assert "25.0 %" in html
    assert "1 m 2" in html or "1 m 3" in html
    assert html.count("<g><title>") == 7
    assert "42 attempts that ended, by day" in html
    assert 'href="?span=7d&amp;workflow=genome"' in html
    assert 'href="?span=7d&amp;engine=cluster"' in html
    assert "style=" not in html


def test_the_span_the_workflow_and_the_engine_are_in_the_url(viewer: Client) -> None:
    make_engine(name="cluster")
    make_engine(name="other")
    ended(completed=1)
    ended("second", completed=2)
    ended("second", "other", completed=4, hours=48)
    for query, number in (
        ("", 7),
        ("?span=24h", 3),
        ("?span=nonsense", 7),
        ("?workflow=second", 6),
        ("?workflow=second&engine=cluster", 2),
        ("?engine=unknown", 7),
        ("?span=90d&engine=other", 4),
        ("?workflow=%00second", 6),
    ):
        assert viewer.get(f"{URL}{query}").context["found"].total.number == number, query


def test_hostile_names_do_nothing(viewer: Client) -> None:
    make_engine(name=HOSTILE)
    ended(HOSTILE, HOSTILE, completed=1, failed=1)
    html = viewer.get(f"{URL}?workflow={HOSTILE}&engine={HOSTILE}").content.decode()
    assert HOSTILE not in html and "&lt;script&gt;" in html


def test_it_is_for_reading_and_for_those_who_may(viewer: Client, client: Client) -> None:
    assert viewer.post(URL).status_code == 405
    assert client.get(URL).status_code == 302
    assert f'href="{URL}"' in viewer.get(reverse("overview")).content.decode()
