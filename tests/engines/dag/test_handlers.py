"""Handlers and callables, in this process."""

import json
import sys

import pytest

from engines.dag import callables
from engines.dag.callables import Permanent, UnknownCallable, handler
from engines.dag.context import RunInfo, StepContext, step_folder
from engines.dag.formats.handlers import HANDLERS as DESCRIBED
from engines.dag.formats.handlers import WORKFLOW
from engines.dag.handlers import HANDLERS, handler_of
from engines.dag.handlers.http import RequestFailed
from engines.dag.handlers.shell import ProgramFailed, last_line
from engines.dag.outcome import clean_text, to_json
from engines.exchange import Response


@pytest.fixture(autouse=True)
def own_functions(monkeypatch, settings):
    settings.WORKFLOWHUB_HANDLER_MODULES = ["tests.handlers"]
    monkeypatch.setattr(callables, "_registered", {})
    sys.modules.pop("tests.handlers", None)
    monkeypatch.setattr(callables, "_loaded", set())


@pytest.fixture
def context():
    run = RunInfo(
        id=1,
        uuid="u",
        attempt=1,
        external_id="wh-u-1",
        title="T",
        parameters={"a": 1},
        labels={},
    )
    return StepContext(
        run=run,
        step="one",
        map_index=-1,
        try_number=1,
        item=None,
        report=lambda message, progress: None,
        tail={"out": "the end", "err": "warning\n\x1b[31mdisk full\x1b[0m\n\n"}.__getitem__,
    )


def run(name, context, **arguments):
    return handler_of(name)(arguments, context)


def test_every_described_handler_is_there():
    assert set(DESCRIBED) - {WORKFLOW} <= set(HANDLERS)
    with pytest.raises(Permanent):
        handler_of("teleport")


def test_a_function_gets_its_arguments_by_name(context):
    assert run("python", context, callable="add", left=1, right=2) == 3


def test_arguments_that_do_not_fit_fail_for_good(context):
    with pytest.raises(Permanent, match="The arguments don't fit: missing a required argument"):
        run("python", context, callable="add", left=1)
    with pytest.raises(Permanent, match="unexpected keyword"):
        run("python", context, callable="add", left=1, right=2, more=3)


def test_an_unknown_function_is_named_with_the_known_ones(context):
    with pytest.raises(Permanent, match="'nothing'.*Registered: .*add.*HANDLER_MODULES"):
        run("python", context, callable="nothing")


def test_a_name_is_registered_once():
    callables.load()
    with pytest.raises(ValueError, match="Two functions"):
        handler("add")(lambda: None)
    with pytest.raises(UnknownCallable):
        callables.find("nothing")


def test_an_app_is_the_function_of_its_name(context):
    params = {"output_file": "x"}
    assert run("app", context, app="GenomeAssembly2", params=params)["seen"] == "x"
    given = {"contigs": "c", "output_path": "/p", "more": 1}
    assert run("app", context, app="GenomeAnnotation", params=given) == {"genome": "/p/from:c"}
    with pytest.raises(Permanent, match="The app Nothing has no local function"):
        run("app", context, app="Nothing", params={})
    with pytest.raises(Permanent, match="object of outputs"):
        run("app", context, app="add", params={"left": 1, "right": 2})


def test_input_gives_its_arguments_or_the_parameters(context):
    assert run("input", context, b=2) == {"b": 2}
    assert run("input", context) == {"a": 1}


def test_sleep_waits_and_refuses_nonsense(context):
    assert run("sleep", context, seconds=0.01) == {"seconds": 0.01}
    for wrong in (-1, "1", True, None):
        with pytest.raises(Permanent):
            run("sleep", context, seconds=wrong)


def test_shell_runs_in_its_own_folder_with_a_clean_environment(context, settings, monkeypatch):
    monkeypatch.setenv("SECRET", "hidden")
    script = "pwd > where; env > env"
    result = run("shell", context, argv=["sh", "-c", script], env={"A": 5, "B": True})
    folder = step_folder("wh-u-1", "one", -1)
    assert result == {"exit_code": 0, "stdout_tail": "the end", "folder": str(folder)}
    assert (folder / "where").read_text().strip() == str(folder)
    found = dict(line.split("=", 1) for line in (folder / "env").read_text().splitlines())
    assert (found["A"], found["B"], found["HOME"]) == ("5", "true", str(folder))
    assert found["WORKFLOWHUB_STEP"] == "one"
    assert not {"SECRET", "DATABASE_URL", "WORKFLOWHUB_SECRET_KEYS"} & set(found)


def test_no_shell_reads_the_arguments(context):
    run("shell", context, argv=["sh", "-c", 'printf %s "$1" > out', "sh", "$(id); `id`"])
    assert (step_folder("wh-u-1", "one", -1) / "out").read_text() == "$(id); `id`"


def test_a_program_that_fails_is_told_with_its_code(context):
    with pytest.raises(ProgramFailed, match="^sh ended with exit code 4: disk full$"):
        run("shell", context, argv=["sh", "-c", "exit 4"])
    with pytest.raises(ProgramFailed, match="was ended by SIGKILL"):
        run("shell", context, argv=["sh", "-c", "kill -9 $$"])
    with pytest.raises(Permanent, match="can't be started: No such file"):
        run("shell", context, argv=["no-such-program"])


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", ""),
        (" \n\r\n\t\n", ""),
        ("one\ntwo", "two"),
        ("10 %\r100 %\r", "100 %"),
        ("Traceback:\n  File\nKeyError: 'x'\n", "KeyError: 'x'"),
        ("\x1b[1;31mred\x1b[0m \x07bell\n\x1b[0m\n", "red bell"),
        ("x" * 400, "x" * 300 + "…"),
    ],
)
def test_the_cause_is_the_last_line_that_says_something(text, line):
    assert last_line(text) == line


@pytest.mark.parametrize("argv", [[], "ls", None, [["ls"]], ["a\x00b"]])
def test_argv_must_be_a_list_of_plain_values(context, argv):
    with pytest.raises(Permanent):
        run("shell", context, argv=argv)


@pytest.mark.parametrize("cwd", ["..", "/etc", "a/../../.."])
def test_a_program_can_not_leave_its_folder(context, cwd):
    with pytest.raises(Permanent, match="inside the step's own folder"):
        run("shell", context, argv=["true"], cwd=cwd)


@pytest.mark.parametrize("step", ["..", "a/b", "", ".hidden"])
def test_a_step_that_is_no_name_gets_no_folder(step):
    with pytest.raises(ValueError, match="can't be the name of a folder"):
        step_folder("wh-u-1", step, -1)


def answer(status=200, body=b'{"a": 1}', kind="application/json"):
    return Response(status=status, headers={"content-type": kind}, body=body)


def test_http_gives_status_headers_and_body(context, monkeypatch):
    asked = []

    def request(method, url, **options):
        asked.append((method, url, options))
        return answer()

    monkeypatch.setattr("engines.http.request", request)
    result = run("http", context, url="https://x.example/", method="POST", body={"b": 2})
    assert (result["status"], result["body"]) == (200, {"a": 1})
    assert asked[0][:2] == ("POST", "https://x.example/")
    assert asked[0][2]["json"] == {"b": 2}
    monkeypatch.setattr("engines.http.request", lambda *a, **o: answer(404, b"no", "text/plain"))
    with pytest.raises(Permanent, match="The answer was 404: no"):
        run("http", context, url="https://x.example/")
    assert run("http", context, url="https://x.example/", expect=404)["body"] == "no"
    monkeypatch.setattr("engines.http.request", lambda *a, **o: answer(503))
    with pytest.raises(RequestFailed):
        run("http", context, url="https://x.example/", expect=[200])


def test_http_refuses_addresses_that_are_not_public(context, settings):
    settings.WORKFLOWHUB_HTTP_ALLOW = []
    with pytest.raises(Permanent, match="WORKFLOWHUB_HTTP_ALLOW"):
        run("http", context, url="http://127.0.0.1:1/")


def test_progress_is_kept_between_nothing_and_all(context):
    seen = []
    context.report = lambda message, progress: seen.append((message, progress))
    context.progress(1.7, "too much")
    context.progress(-1)
    context.progress(None, "nobody knows")
    assert seen == [("too much", 1.0), ("", 0.0), ("nobody knows", None)]


@pytest.mark.parametrize(
    "value", [{1}, float("nan"), float("inf"), "a\x00b", {"\x00": 1}, object()]
)
def test_what_json_or_a_database_can_not_hold_is_refused(value):
    with pytest.raises(ValueError, match="^The result"):
        to_json(value)


def test_a_backslash_before_a_zero_is_no_nul():
    assert json.loads(to_json("\\u0000")) == "\\u0000"


def test_large_inputs_are_not_kept_and_texts_are_cut():
    assert json.loads(to_json("x" * 200_000, kind="inputs")) == {"note": "not shown: 200,002 bytes"}
    assert clean_text("x" * 10, 5) == "xxxx…"
    assert clean_text("a\x00\udcff") == "a\ufffd?"
