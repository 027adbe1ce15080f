"""Posting a workflow from the browser."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse

from runs.models import Workflow
from tests.factories import make_engine

URL = reverse("new_workflow")
GOOD = """title: nightly
steps:
  - name: dump
    handler: sleep
    with: {seconds: 1}
  - name: verify
    handler: sleep
    needs: [dump]
    with: {seconds: 1}
"""
BAD = GOOD.replace("needs: [dump]", "needs: [dumb]")


def test_validate_posts_nothing_and_draws_the_graph(admin: Client) -> None:
    html = admin.post(URL, {"definition": GOOD, "do": "validate"}).content.decode()
    assert "It is fine: 2 tasks, format workflowhub" in html
    assert "<svg width=" in html
    assert not Workflow.objects.exists()


@pytest.mark.parametrize("what", ["validate", "post"])
def test_problems_stand_at_their_lines(admin: Client, what: str) -> None:
    response = admin.post(URL, {"definition": BAD, "do": what})
    assert response.status_code == (400 if what == "post" else 200)
    html = response.content.decode()
    wrong = [line for line in response.context["lines"] if line.problems]
    assert [line.text.strip() for line in wrong] == ["needs: [dumb]"]
    assert f'id="line-{wrong[0].n}"' in html
    assert "dumb" in html
    assert "The definition has 1 problem. It was taken for the format workflowhub" in html
    assert "Nothing was posted." in html
    assert not Workflow.objects.exists()
    told = admin.post(URL, {"definition": BAD, "format": "workflowhub", "do": what})
    assert "It was taken for" not in told.content.decode()


def test_post_leads_to_the_workflow(admin: Client) -> None:
    response = admin.post(
        URL, {"definition": GOOD, "labels": "team=ops\ntier=gold", "do": "post"}, follow=True
    )
    assert response.redirect_chain[-1][0] == reverse("workflow", args=["nightly"])
    workflow = Workflow.objects.get()
    assert workflow.created_by is not None
    assert {str(label) for label in workflow.labels.all()} == {"team=ops", "tier=gold"}


def test_the_same_content_again_makes_no_version(admin: Client) -> None:
    for _ in range(2):
        response = admin.post(URL, {"definition": GOOD, "do": "post"}, follow=True)
    assert "Nothing changed" in response.content.decode()
    assert Workflow.objects.count() == 1


def test_a_file_replaces_the_text(admin: Client) -> None:
    file = SimpleUploadedFile("flow.yaml", GOOD.replace("nightly", "filed").encode())
    admin.post(URL, {"definition": "x", "file": file, "do": "post"})
    assert Workflow.objects.get().title == "filed"


def test_a_file_that_is_no_text_is_refused(admin: Client) -> None:
    response = admin.post(URL, {"file": SimpleUploadedFile("x", b"\xff\xfe"), "do": "post"})
    assert response.status_code == 400
    assert "It is not a UTF-8 text." in response.content.decode()


def test_a_new_version_starts_from_the_last(admin: Client) -> None:
    admin.post(URL, {"definition": GOOD, "labels": "team=ops", "do": "post"})
    html = admin.get(f"{URL}?from=nightly").content.decode()
    assert "name: verify" in html
    assert "team=ops" in html


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"definition": ""}, "It is empty."),
        ({"definition": GOOD, "engine": "x"}, "Choose one of the list."),
        ({"definition": GOOD, "engine": "99999"}, "There is no such engine any more."),
        ({"definition": GOOD, "format": "fortran"}, "is unknown"),
        ({"definition": GOOD, "labels": "=x"}, "is no label key"),
        ({"definition": GOOD, "title": "x" * 201}, "A title has 1 to 200 characters."),
    ],
)
def test_what_is_wrong_is_told_at_its_field(admin: Client, data: dict[str, str], said: str) -> None:
    response = admin.post(URL, {**data, "do": "post"})
    assert response.status_code == 400
    assert said in response.content.decode()
    assert not Workflow.objects.exists()


def test_an_engine_can_be_named(admin: Client) -> None:
    engine = make_engine()
    admin.post(URL, {"definition": GOOD, "engine": engine.pk, "do": "post"})
    assert Workflow.objects.get().engine == engine


def test_an_operator_sees_why_not(operator: Client) -> None:
    assert "The role operator may not post workflows." in operator.get(URL).content.decode()


def test_hostile_text_stays_text(admin: Client) -> None:
    text = "title: <script>alert(1)</script>\nsteps: {{ 7*7 }}</textarea><script>x</script>"
    html = admin.post(URL, {"definition": text, "do": "validate"}).content.decode()
    assert "<script>alert" not in html
    assert "<script>x" not in html
