"""The language of the query box: what it reads, what it explains, and that nothing is lost both ways."""

import pytest
from django.http import QueryDict
from hypothesis import given, settings
from hypothesis import strategies as st

from runs.models import Label
from runs.runfilter import RunFilter, query_of, read_filter, text_of
from runs.runquery import MOST_TEXT, read
from runs.states import RunState, Trigger
from runs.templatetags.narrowing import requirement
from runs.web.chips import added, address, chips_of


def reading(text: str) -> RunFilter:
    asked = QueryDict(mutable=True)
    asked["query"] = text
    return read_filter(asked)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("", ""),
        ("state:failed", "state=FAILED"),
        ("state:failed,Canceled", "state=FAILED,CANCELED"),
        ("state:active", "state=PENDING,RUNNING,SCHEDULED"),
        ("engine:airflow-prod", "engine=airflow-prod"),
        ('workflow:"Nightly import"', "workflow=Nightly+import"),
        ('workflow:"say \\"hi\\" \\\\ there"', "workflow=say+%22hi%22+%5C+there"),
        ("label:team=physics label:!x", "labels=team%3Dphysics,!x"),
        ('label:"tier in (a, b)"', "labels=tier+in+%28a,+b%29"),
        ('error:"KeyError" task:load by:ada', "error=KeyError&task=load&by=ada"),
        ("trigger:schedule,api", "trigger=schedule,api"),
        ("since:24h until:2026-01-31", "since=24h&until=2026-01-31"),
        ("id:123 id:#7", "id=123,7"),
        ("free   words", "q=free+words"),
        ('"free   words"', "q=free+++words"),
        ('a "state:failed" b', "q=a+state:failed+b"),
        ('"OR"', "q=OR"),
        ("Labels:a State:failed", "state=FAILED&labels=a"),
    ],
)
def test_a_text_is_another_spelling_of_the_parameters(text: str, query: str) -> None:
    chosen = reading(text)
    assert (query_of(chosen), chosen.errors) == (query, {})
    assert read_filter(QueryDict(query)) == chosen


@pytest.mark.parametrize(
    ("text", "rest", "said"),
    [
        ("stat:failed by:ada", "by=ada", "“stat:” is no field: did you mean state:?"),
        ("http://a x", "q=x", "“http:” is no field: there are state, workflow,"),
        ("KeyError: x", "q=x", "Words with a colon stand in quotation marks."),
        ("state:faild by:ada", "by=ada", "FAILD is no state of a run. Did you mean failed?"),
        ("state: by:ada", "by=ada", "state: needs a value right behind the colon"),
        ("trigger:moon", "", "“moon” starts no run. There are manual,"),
        ("id:x,4", "id=4", "“x” is no number of a run."),
        ("since:yesterday by:ada", "by=ada&since=yesterday", "'yesterday' is no time"),
        ("label:a==( by:ada", "labels=a%3D%3D%28&by=ada", "Expected a comma"),
        ("a OR b", "q=a+b", "OR is not understood: all parts have to fit."),
        ("-state:failed", "", "can't be left out with -"),
        ("engine:a engine:b", "engine=a", "engine is given 2 times: only “a” counts."),
        ('by:"ada', "by=ada", 'A quotation mark " is not closed.'),
        ("x" * (MOST_TEXT + 1), "", "so none of it was read"),
        ("x" * 300, f"q={'x' * 200}", "only the first 200 characters count"),
    ],
)
def test_what_makes_no_sense_is_explained_and_the_rest_applies(
    text: str, rest: str, said: str
) -> None:
    chosen = reading(text)
    assert said in " ".join(chosen.errors.values())
    assert query_of(chosen) == rest


def test_what_is_given_twice_in_the_address_is_no_secret() -> None:
    chosen = read_filter(QueryDict("workflow=a&workflow=b&query=workflow:c"))
    assert chosen.workflow == "a"
    assert "workflow is given 3 times" in chosen.errors["workflow"]


texts = st.text(max_size=30).map(lambda text: text.replace("\x00", "").strip())
keys = st.from_regex(r"[a-z](?:[-a-z0-9_.]{0,5}[a-z0-9])?", fullmatch=True)
values = st.from_regex(r"[a-zA-Z0-9:\"'\\äß-]{0,6}", fullmatch=True)
one_label = st.one_of(
    st.builds("{}={}".format, keys, values),
    st.builds("{}!={}".format, keys, values),
    st.builds("{} in ({}, {} x)".format, keys, values, values),
    st.builds("!{}".format, keys),
    keys,
)
filters = st.builds(
    RunFilter,
    states=st.lists(st.sampled_from(RunState.values), unique=True).map(tuple),
    workflow=texts,
    engine=texts,
    labels=st.lists(one_label, unique=True, max_size=5).map(",".join),
    since=st.sampled_from(["", "24h", "7d", "2026-01-31", "2026-01-31T12:00:00+01:00"]),
    until=st.sampled_from(["", "1h", "2026-02-01 10:00"]),
    words=texts,
    fingerprint=st.sampled_from(["", "f" * 64]),
    error=texts,
    task=texts,
    by=texts,
    triggers=st.lists(st.sampled_from(Trigger.values), unique=True).map(tuple),
    ids=st.lists(st.integers(0, 2**59), unique=True, max_size=5).map(tuple),
)


@given(filters)
@settings(max_examples=400, deadline=None)
def test_a_filter_that_is_written_down_reads_as_the_same_filter(chosen: RunFilter) -> None:
    assert reading(text_of(chosen)) == chosen
    assert read_filter(QueryDict(query_of(chosen))) == chosen


@given(filters)
@settings(max_examples=200, deadline=None)
def test_each_chip_takes_its_part_away_and_nothing_else(chosen: RunFilter) -> None:
    for chip in chips_of(chosen):
        rest = read_filter(QueryDict(chip.url.partition("?")[2]))
        assert not rest.errors
        assert len(chips_of(rest)) == len(chips_of(chosen)) - 1


@given(st.text() | st.text(alphabet='state:"\\ -!,()=in\x00\n1h', max_size=60))
@settings(max_examples=500, deadline=None)
def test_no_text_raises_and_what_was_understood_can_be_written_down(text: str) -> None:
    read(text)
    chosen = reading(text)
    assert reading(text_of(chosen)) == read_filter(QueryDict(query_of(chosen)))
    assert address(chosen).startswith("/runs/?")


@given(filters, keys, st.text(max_size=12).filter(lambda text: "\x00" not in text))
@settings(max_examples=200, deadline=None)
def test_the_link_of_a_label_narrows_to_that_label(chosen: RunFilter, key: str, value: str) -> None:
    wanted = requirement(Label(key=key, value=value))
    if not wanted:
        assert set(value) & set("(),") or value != value.strip()
        return
    narrower = read_filter(QueryDict(query_of(added(chosen, "labels", wanted))))
    assert not narrower.errors
    assert wanted in narrower.labels
