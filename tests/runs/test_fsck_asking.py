"""fsck --ask-engines: what the engines have is what the hub says they have, and nothing is changed."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from engines.testing.fake_http import Fault
from runs import actions
from runs.invariants import asking
from runs.models import RunAttempt, WorkflowRun
from runs.policy import Actor
from runs.states import RunState
from tests.factories import make_engine, make_run, make_workflow
from tests.reconciler.conftest import hub, make_hub

__all__ = ["hub", "make_hub"]
pytestmark = pytest.mark.django_db
LONG_AGO = "2020-01-01T00:00Z"
KINDS = [
    {},
    {"incremental": True},
    {"submission": "B"},
    {"submission": "C"},
    {"submission": "C", "incremental": True},
    {"in_place": True},
]
IDS = ["A", "A lists changes", "B", "C", "C lists changes", "in place"]


def ask(engine):
    return next(answer for answer in asking.ask_engines() if answer.engine == engine.name)


def is_old(run):
    WorkflowRun.objects.filter(pk=run.pk).update(updated_at=LONG_AGO)


def started(hub, number=1):
    runs = [hub.start() for _ in range(number)]
    hub.sync(2)
    for run in runs:
        is_old(run)
    return [hub.seen(run) for run in runs]


@pytest.mark.parametrize("options", KINDS, ids=IDS)
def test_a_sound_hub_and_its_engine_agree(make_hub, options):
    hub = make_hub(**options)
    going, ended = started(hub, 2)
    hub.fake.engine.finish(ended.external_id)
    hub.sync()
    is_old(ended)
    answer = ask(hub.engine)
    assert (answer.broken, answer.strangers) == ([], [])
    if options != {"submission": "C", "incremental": True}:
        assert (answer.looked_up, answer.left, answer.silent) == (2, 0, "")
    else:
        assert (answer.looked_up, answer.left) == (0, 2)
        assert "finds one run by our id only before" in answer.silent


@pytest.mark.parametrize("options", KINDS[:4], ids=IDS[:4])
def test_a_run_that_the_engine_lost_is_told(make_hub, options):
    hub = make_hub(**options)
    (run,) = started(hub)
    hub.fake.engine.forget(run.external_id)
    (line,) = ask(hub.engine).broken
    assert line == (
        f"attempt 1 of run {run.pk} ({run.external_id}) goes on, and the engine does not know it"
    )


@pytest.mark.parametrize("options", KINDS[:4], ids=IDS[:4])
def test_a_run_that_goes_on_for_nobody_at_the_engine_is_told(make_hub, options):
    hub = make_hub(**options)
    (run,) = started(hub)
    WorkflowRun.objects.filter(pk=run.pk).update(state=RunState.FAILED, ended_at=LONG_AGO)
    (line,) = ask(hub.engine).broken
    assert line.endswith("is over, and it goes on at the engine")
    WorkflowRun.objects.filter(pk=run.pk).update(marked=True)
    assert ask(hub.engine).broken == []


def test_an_earlier_attempt_that_still_goes_on_is_told(hub):
    (run,) = started(hub)
    RunAttempt.objects.create(run=run, number=2, external_id=f"wh-{run.uuid}-2")
    WorkflowRun.objects.filter(pk=run.pk).update(attempt=2, external_id=f"wh-{run.uuid}-2")
    (line,) = ask(hub.engine).broken
    assert line.startswith(f"attempt 1 of run {run.pk} ")


def test_a_run_whose_call_got_lost_and_that_was_given_up_is_told(hub):
    """Sent, never heard of, canceled here: and it is there."""
    run = hub.start()
    hub.fake.engine.submit(run.external_id, {"tasks": [{"name": "a"}]})
    RunAttempt.objects.filter(run=run).update(sent_at=LONG_AGO)
    is_old(run)
    assert ask(hub.engine).broken == []  # the reconciler will find it
    WorkflowRun.objects.filter(pk=run.pk).update(state=RunState.CANCELED, ended_at=LONG_AGO)
    assert len(ask(hub.engine).broken) == 1


def test_what_has_just_changed_may_be_on_its_way(hub):
    (run,) = started(hub)
    hub.fake.engine.forget(run.external_id)
    WorkflowRun.objects.filter(pk=run.pk).update(updated_at="2100-01-01T00:00Z")
    assert ask(hub.engine).broken == []


def test_what_an_engine_has_and_we_do_not_is_listed(make_hub):
    hub = make_hub(incremental=True)
    (run,) = started(hub)
    definition = {"tasks": [{"name": "a"}]}
    theirs = "wh-00000000-0000-4000-8000-000000000001-1"
    for name in (theirs, "somebody-elses", f"wh-{run.uuid}-7"):
        hub.fake.engine.submit(name, definition)
    answer = ask(hub.engine)
    assert answer.strangers == [theirs]
    assert answer.broken == [f"wh-{run.uuid}-7 goes on, and its run has no such attempt"]
    hub.fake.engine.finish()
    assert ask(hub.engine).strangers == []


def test_nothing_is_changed_by_asking(make_hub):
    hub = make_hub(incremental=True)
    (run,) = started(hub)
    before = [*WorkflowRun.objects.values(), *RunAttempt.objects.values()]
    engine = type(hub.engine).objects.values().get()
    hub.fake.requests.clear()
    ask(hub.engine)
    assert [*WorkflowRun.objects.values(), *RunAttempt.objects.values()] == before
    assert type(hub.engine).objects.values().get() == engine
    assert all(request.startswith("GET ") for request in hub.fake.requests)


def test_an_engine_is_asked_in_pages_and_only_so_much(hub, monkeypatch):
    monkeypatch.setattr(asking, "MOST", 3)
    runs = started(hub, 5)
    hub.fake.requests.clear()
    answer = ask(hub.engine)
    assert (answer.looked_up, answer.left) == (3, 2)
    assert sum(hub.fake.requests.values()) == 1
    hub.fake.engine.forget(runs[-1].external_id)
    assert len(ask(hub.engine).broken) == 1


def test_an_engine_has_only_so_much_time(make_hub, monkeypatch):
    hub = make_hub(incremental=True)
    started(hub, 2)
    monkeypatch.setattr(asking, "SECONDS", -1.0)
    answer = ask(hub.engine)
    assert (answer.looked_up, answer.left) == (0, 2)
    assert "nothing more after that" in answer.silent


def test_an_engine_that_can_not_be_asked_is_named_and_hides_no_other(hub):
    (run,) = started(hub)
    hub.fake.engine.forget(run.external_id)
    down = make_engine("remote", name="a-down", config={"url": "http://127.0.0.1:9"})
    make_run(make_workflow(engine=down), accepted=True)
    make_engine("remote", name="b-off", config={"url": hub.fake.url}, enabled=False)
    make_engine("remote", name="c-wrong", config={"url": "nowhere"})
    out = StringIO()
    with pytest.raises(CommandError, match="1 of 4 engines have other runs than the hub"):
        call_command("fsck", "--ask-engines", stdout=out)
    text = out.getvalue()
    for name, left in (("a-down", ", 1 not"), ("b-off", ""), ("c-wrong", "")):
        assert f"{name}: 0 attempts looked up{left}.\n    Not asked, or not to the end: " in text
    assert f"attempt 1 of run {run.pk}" in text


def test_not_every_engine_asked_is_said_and_breaks_nothing(hub):
    started(hub)
    hub.fake.inject(Fault.ERROR, method="GET", times=9)
    out = StringIO()
    call_command("fsck", "--ask-engines", stdout=out)
    assert f"as far as the engines could be asked: not all of {hub.engine.name}." in out.getvalue()


def test_the_built_in_engine_is_asked_for_each_attempt():
    engine = make_engine(name="local")
    run = make_run(make_workflow(engine=engine), accepted=True, state=RunState.RUNNING)
    is_old(run)
    answer = ask(engine)
    assert (answer.looked_up, answer.silent) == (1, "")
    assert answer.broken == [
        f"attempt 1 of run {run.pk} ({run.external_id}) goes on, and the engine does not know it"
    ]
    actions.cancel_run(Actor(), run)


def test_no_engine_is_asked_unless_it_is_wanted(hub):
    started(hub)
    hub.fake.requests.clear()
    call_command("fsck", stdout=StringIO())
    assert not hub.fake.requests
