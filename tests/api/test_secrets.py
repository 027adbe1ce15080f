"""/secrets and /variables: values of secrets go in and never come out."""

import json

import pytest

from engines.secrets import decrypt
from runs.models import IdempotencyKey, Secret, Variable
from tests.factories import make_secret, make_variable, make_workflow

VALUE = "plain-secret-5e8f"


def test_a_secret_is_set_replaced_and_never_shown(api):
    given = {"name": "token", "value": VALUE, "description": "For the API."}
    made = api.post("secrets", given)
    assert made.status_code == 201
    secret = Secret.objects.get()
    assert made["Location"] == f"/api/v1/secrets/{secret.pk}"
    body = made.json()
    assert set(body) == {
        "id", "name", "workflow", "description", "created_at", "updated_at", "updated_by",
        "version",
    }  # fmt: skip
    assert (body["name"], body["workflow"]) == ("token", "")
    assert body["updated_by"] == api.user.username
    again = api.post("secrets", {"name": "token", "value": "another-value"})
    assert again.status_code == 200
    assert again.json()["description"] == "For the API."
    changed = api.patch(f"secrets/{secret.pk}", {"value": "a-third-value", "description": "x"})
    assert changed.status_code == 200
    assert decrypt(Secret.objects.get().encrypted) == "a-third-value"
    answers = [made, again, changed, api.get("secrets"), api.get(f"secrets/{secret.pk}")]
    answers.append(api.get("audit"))
    for answer in answers:
        for value in (VALUE, "another-value", "a-third-value", secret.encrypted):
            assert value not in answer.content.decode()
    assert api.delete(f"secrets/{secret.pk}").status_code == 204
    assert api.get(f"secrets/{secret.pk}").status_code == 404


def test_a_variable_is_set_and_shown(api):
    workflow = make_workflow()
    given = {"name": "stage", "value": "", "workflow": workflow.title}
    made = api.post("variables", given)
    assert (made.status_code, made.json()["value"]) == (201, "")
    pk = made.json()["id"]
    assert api.patch(f"variables/{pk}", {"value": "blue"}).json()["value"] == "blue"
    assert api.get("variables").json()["results"][0]["workflow"] == workflow.title
    assert api.delete(f"variables/{pk}").status_code == 204
    assert not Variable.objects.exists()


@pytest.mark.parametrize("kind", ["secrets", "variables"])
def test_of_two_who_change_the_same_the_second_is_told(api, kind):
    made = api.post(kind, {"name": "a", "value": VALUE})
    url = f"{kind}/{made.json()['id']}"
    assert made["ETag"] == api.get(url)["ETag"] == '"1"'
    seen = {"if-match": '"1"'}
    changed = api.patch(url, {"value": "another-value"}, headers=seen)
    assert (changed.status_code, changed["ETag"], changed.json()["version"]) == (200, '"2"', 2)
    before = list({"secrets": Secret, "variables": Variable}[kind].objects.values())
    for answer in (
        api.patch(url, {"value": "a-third-value"}, headers=seen),
        api.patch(url, {"description": "x"}, headers={"if-match": '"999"'}),
        api.delete(url, headers=seen),
    ):
        assert (answer.status_code, answer.json()["type"]) == (412, "urn:workflowhub:problem:stale")
    assert list({"secrets": Secret, "variables": Variable}[kind].objects.values()) == before
    # Whoever sets it by its name changes it too.
    assert api.post(kind, {"name": "a", "value": "a-third-value"})["ETag"] == '"3"'
    assert api.delete(url, headers={"if-match": '"2"'}).status_code == 412
    assert api.delete(url, headers={"if-match": '"3"'}).status_code == 204


def test_lists_are_filtered_by_name_and_workflow(api):
    for workflow in ("etl", ""):
        for name in ("a", "b"):
            make_secret(name, workflow=workflow)
    found = api.get("secrets?workflow=etl&name=a").json()["results"]
    assert [(row["workflow"], row["name"]) for row in found] == [("etl", "a")]
    assert len(api.get("secrets?limit=3").json()["results"]) == 3
    assert api.get("secrets?value=x").status_code == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"value": VALUE}, "name"),
        ({"name": "a"}, "value"),
        ({"name": "a b", "value": VALUE}, "name"),
        ({"name": "a", "value": "tiny5"}, "value"),
        ({"name": "a", "value": 123456789}, "value"),
        ({"name": "a", "value": [VALUE]}, "value"),
        ({"name": "a", "value": VALUE, "workflow": "nowhere"}, "workflow"),
        ({"name": "a", "value": VALUE, "scope": "x"}, "scope"),
    ],
)
def test_bad_input_names_the_field_and_not_the_value(api, body, field):
    answer = api.post("secrets", body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]
    assert VALUE not in answer.content.decode()
    assert not Secret.objects.exists()


def test_an_editor_sets_those_of_a_workflow_only(caller):
    workflow = make_workflow()
    editor = caller("editor")
    assert editor.post("secrets", {"name": "a", "value": VALUE}).status_code == 403
    own = {"name": "a", "value": VALUE, "workflow": workflow.title}
    assert editor.post("secrets", own).status_code == 201
    shared = make_variable()
    assert editor.patch(f"variables/{shared.pk}", {"value": "x"}).status_code == 403
    assert editor.delete(f"variables/{shared.pk}").status_code == 403
    assert editor.get(f"variables/{shared.pk}").status_code == 200


def test_an_idempotency_key_keeps_no_value(api):
    body = {"name": "token", "value": VALUE}
    headers = {"Idempotency-Key": "k1"}
    first = api.post("secrets", body, headers=headers)
    again = api.post("secrets", body, headers=headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again["Idempotent-Replay"] == "true"
    assert VALUE not in str(IdempotencyKey.objects.values())


def test_a_workflow_says_what_it_refers_to(api):
    steps = [
        {"name": "a", "handler": "python", "with": {"callable": "f", "t": "${secrets.token}"}},
        {"name": "b", "handler": "output", "with": {"s": "${vars.stage}"}},
    ]
    definition = json.dumps({"title": "etl", "steps": steps})
    checked = api.post("workflows/validate", {"definition": definition}).json()
    assert (checked["secrets"], checked["variables"]) == (["token"], ["stage"])
    posted = api.post("workflows", {"definition": definition}).json()
    assert (posted["secrets"], posted["variables"]) == (["token"], ["stage"])
    refused = api.post("workflow-runs", {"workflow": posted["id"]})
    assert refused.status_code == 400
    errors = {error["field"]: error["detail"] for error in refused.json()["errors"]}
    assert set(errors) == {"secrets.token", "variables.stage"}
    assert "Add it under Secrets and variables" in errors["secrets.token"]
    make_secret(workflow="etl")
    make_variable()
    assert api.post("workflow-runs", {"workflow": posted["id"]}).status_code == 201
