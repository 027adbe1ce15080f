"""What is written about the format agrees with what is read."""

import json
import re
from pathlib import Path

import pytest
from django.conf import settings
from jsonschema import Draft202012Validator

from engines.dag import handlers
from engines.dag.formats import HANDLERS, guess, parameters, parse, workflowhub
from engines.dag.formats.document import load
from engines.dag.formats.handlers import WORKFLOW

ROOT = Path(settings.BASE_DIR)
SCHEMA = json.loads((ROOT / "static/schema/workflowhub.schema.json").read_text())
TEXT = (ROOT / "docs/workflow_format.md").read_text()
EXAMPLES = re.findall(r"^```(?:yaml|json)\n(.*?)^```$", TEXT, re.M | re.S)


def test_the_documentation_has_its_examples():
    assert len(EXAMPLES) >= 14


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_documented_example_is_read_without_problems(text):
    parsed = parse(text, guess(text))
    assert parsed.problems == ()
    assert parsed.graph.steps


@pytest.mark.parametrize("text", [text for text in EXAMPLES if guess(text) == "workflowhub"])
def test_every_documented_example_fits_the_json_schema(text):
    Draft202012Validator(SCHEMA).validate(load(text).value)


def test_the_json_schema_is_one_and_knows_every_key():
    Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == set(workflowhub.KEYS)
    step = SCHEMA["$defs"]["step"]
    assert set(step["properties"]) == set(workflowhub.STEP_KEYS)
    assert step["properties"]["handler"]["enum"] == list(HANDLERS)
    assert set(SCHEMA["$defs"]["parameter"]["properties"]) == set(parameters.KEYWORDS)


def test_the_json_schema_knows_every_handlers_arguments():
    rules = SCHEMA["$defs"]["step"]["allOf"]
    found = {
        rule["if"]["properties"]["handler"]["const"]: rule["then"]["properties"]["with"]
        for rule in rules
    }
    for name, handler in HANDLERS.items():
        assert set(found[name]["properties"]) == set(handler.arguments)
        required = [key for key, argument in handler.arguments.items() if argument.required]
        assert found[name].get("required", []) == required


def test_every_handler_has_code_in_the_worker_but_the_one_that_no_worker_runs():
    assert set(HANDLERS) - {WORKFLOW} <= set(handlers.HANDLERS)
    assert WORKFLOW not in handlers.HANDLERS


def test_every_key_and_handler_is_documented():
    for word in (*workflowhub.KEYS, *workflowhub.STEP_KEYS, *HANDLERS):
        assert f"`{word}`" in TEXT
    for word in parameters.KEYWORDS:
        assert word in TEXT


@pytest.mark.parametrize(
    "text",
    [
        "steps: []",
        "steps: [{name: a}]",
        "steps: [{name: a b, handler: input}]",
        "steps: [{name: a, handler: magic}]",
        "steps: [{name: a, handler: input, whn: 'true'}]",
        "steps: [{name: a, handler: python}]",
        "steps: [{name: a, handler: python, with: {callable: '${params.x}'}}]",
        "steps: [{name: a, handler: shell, with: {argv: []}}]",
        "steps: [{name: a, handler: shell, with: {argv: ls}}]",
        "steps: [{name: a, handler: shell, with: {argv: [ls], cwd: /etc}}]",
        "steps: [{name: a, handler: shell, with: {argv: [ls], cwd: a/../..}}]",
        "steps: [{name: a, handler: shell, with: {argv: [ls], shell: true}}]",
        "steps: [{name: a, handler: http, with: {url: 'ftp://x'}}]",
        "steps: [{name: a, handler: http, with: {url: 'http://x', method: TAKE}}]",
        "steps: [{name: a, handler: http, with: {url: 'http://x', expect: 20}}]",
        "steps: [{name: a, handler: sleep, with: {seconds: -1}}]",
        "steps: [{name: a, handler: sleep, with: {seconds: soon}}]",
        "steps: [{name: a, handler: workflow}]",
        "steps: [{name: a, handler: workflow, with: {workflow: ''}}]",
        "steps: [{name: a, handler: workflow, with: {workflow: x, version: 0}}]",
        "steps: [{name: a, handler: workflow, with: {workflow: x, version: new}}]",
        "steps: [{name: a, handler: workflow, with: {workflow: x, parameters: [1]}}]",
        "steps: [{name: a, handler: workflow, with: {workflow: x, labels: {a: [1]}}}]",
        "steps: [{name: a, handler: workflow, with: {workflow: x, wait: later}}]",
        "steps: [{name: a, handler: workflow, with: {workflow: x, engine: y}}]",
        "steps: [{name: a, handler: input, retry: {limit: -1}}]",
        "steps: [{name: a, handler: input, retry: often}]",
        "steps: [{name: a, handler: input, timeout: soon}]",
        "steps: [{name: a, handler: input, timeout: 0}]",
        "steps: [{name: a, handler: input, for_each: 3}]",
        "steps: [{name: a, handler: input, repeat: 0}]",
        "steps: [{name: a, handler: input, repeat: often}]",
        "steps: [{name: a, handler: input, repeat: {}}]",
        "steps: [{name: a, handler: input, repeat: {delay: 5}}]",
        "steps: [{name: a, handler: input, repeat: {until: null, max: null}}]",
        "steps: [{name: a, handler: input, repeat: {max: 10001}}]",
        "steps: [{name: a, handler: input, repeat: {until: 3}}]",
        "steps: [{name: a, handler: input, repeat: 3, for_each: [1]}]",
        "steps: [{name: a, handler: input, needs: b, trigger: all_well}, {name: b, handler: input}]",
        "{steps: [{name: a, handler: input}], failure_policy: hope}",
        "{steps: [{name: a, handler: input}], max_parallel: 0}",
        "{steps: [{name: a, handler: input}], parameters: {k: 3}}",
        "{steps: [{name: a, handler: input}], parameters: {k: {defualt: 3}}}",
        "{steps: [{name: a, handler: input}], outputs: 3}",
    ],
)
def test_reader_and_json_schema_refuse_the_same(text):
    assert parse(text, "workflowhub").problems
    assert not Draft202012Validator(SCHEMA).is_valid(load(text).value)
