"""The examples run end to end on the built-in engine, with a real worker."""

from pathlib import Path

import pytest
from django.conf import settings

from engines.base import RetrySpec
from engines.dag.context import step_folder
from engines.dag.formats import parse
from engines.dag.models import Step
from engines.parameters import clean_parameters
from tests.engines.dag.driving import make_adapter, make_spec
from tests.engines.dag.workers import WorkerProcess, wait_for_end

pytestmark = pytest.mark.django_db(transaction=True)
FOLDER = Path(settings.BASE_DIR) / "examples"


@pytest.fixture
def run(database_url):
    """Submits a spec to the built-in engine, which has a worker, and gives the ended execution."""
    worker = WorkerProcess(
        database_url, "--concurrency", "2", WORKFLOWHUB_HANDLER_MODULES="examples.handlers"
    )
    adapter = make_adapter()

    def end_of(spec, retry=None):
        adapter.retry(spec, retry) if retry else adapter.submit(spec)
        return wait_for_end(spec.external_id, 60)

    yield end_of
    worker.end()


@pytest.fixture
def hub_worker(database_url, live_server):
    """A worker that knows where the hub is, as `up` tells its own."""
    worker = WorkerProcess(
        database_url,
        WORKFLOWHUB_HANDLER_MODULES="examples.handlers",
        WORKFLOWHUB_URL=live_server.url,
    )
    yield
    worker.end()


def spec_of(name, form, parameters=None, **more):
    text = (FOLDER / name).read_text()
    schema = parse(text, form).graph.parameters_schema
    return make_spec(
        text, format=form, parameters=clean_parameters(schema, parameters or {}), **more
    )


def test_the_genome_workflow_reports_what_is_published_of_phage_lambda(run):
    spec = spec_of("genome/workflow.yaml", "workflowhub")
    ended = run(spec)
    assert ended.state == "COMPLETED", ended.error
    report = ended.result["report"]
    assert report["length"] == 48_502
    assert report["gc_percent"] == 49.86
    assert report["cuts"] == {"EcoRI": 5, "HindIII": 6, "BamHI": 5, "KpnI": 2, "XhoI": 1}
    assert report["longest_gene"] == {"frame": 1, "start": 15505, "end": 18903, "codons": 1132}
    assert 20 < report["likely_genes"] < report["orfs"]
    assert Step.objects.get(name="turning_point").result["position"] == 20_000
    assert "GC content          49.86 %" in report["text"]
    kept = step_folder(spec.external_id, "report", -1) / "report.txt"
    assert kept.read_text() == report["text"] + "\n"


def test_it_fans_out_over_windows_frames_and_enzymes(run):
    spec = spec_of("genome/workflow.yaml", "workflowhub", {"enzymes": ["NotI", "PstI"]})
    ended = run(spec)
    mapped = Step.objects.filter(execution__external_id=spec.external_id, map_index__gte=0)
    counts = {name: mapped.filter(name=name).count() for name in ("skew", "orfs", "sites")}
    assert counts == {"skew": 10, "orfs": 6, "sites": 2}
    assert ended.result["report"]["cuts"] == {"NotI": 0, "PstI": 28}


@pytest.mark.parametrize("name", ["no.fa", "../handlers.py", "/etc/passwd", "SOURCE.md"])
def test_only_genomes_of_the_example_can_be_read(run, name):
    spec = spec_of("genome/workflow.yaml", "workflowhub")
    spec.parameters["genome"] = name
    ended = run(spec)
    assert ended.state == "FAILED"
    assert "There is no genome" in ended.error
    assert "choose from lambda_phage.fa" in ended.error


def test_the_assembly_document_runs_as_printed(run):
    spec = spec_of("assembly/workflow.json", "bvbrc")
    ended = run(spec)
    assert ended.state == "COMPLETED", ended.error
    [genome] = ended.result
    assert (genome["contigs"], genome["length"], genome["gc_percent"]) == (1, 48_502, 49.86)
    step1, step2 = (step_folder(spec.external_id, name, -1) for name in ("step1", "step2"))
    contigs = step1 / "user/home/output/Assembly/.assembly_output/contigs.fa"
    assert contigs.read_text().startswith(">contig_1 length=48502\n")
    genes = (step2 / "user/home/output/Annotation/genes.gff").read_text().splitlines()
    assert genes[0] == "##gff-version 3"
    assert len(genes) - 1 == genome["genes"]
    assert not Path("/user/home/output").exists()


def test_the_workspace_of_the_document_can_be_another_and_never_leads_out(run):
    inside = spec_of(
        "assembly/workflow.json", "bvbrc", {"workspace_output_folder": "/elsewhere/ours"}
    )
    outside = spec_of(
        "assembly/workflow.json", "bvbrc", {"workspace_output_folder": "/../../../../tmp"}
    )
    run(inside)
    refused = run(outside)
    step1 = step_folder(inside.external_id, "step1", -1)
    assert (step1 / "elsewhere/ours/Assembly/.assembly_output/contigs.fa").is_file()
    assert "is no path that files can be kept under" in refused.error


def test_a_retry_of_the_annotation_alone_finds_what_the_attempt_before_assembled(run):
    first = spec_of("assembly/workflow.json", "bvbrc")
    run(first)
    second = spec_of("assembly/workflow.json", "bvbrc", uuid=first.uuid, attempt=2)
    again = RetrySpec(previous_external_id=first.external_id, tasks=(("step2", -1),))
    ended = run(second, again)
    assert ended.state == "COMPLETED", ended.error
    assert ended.result[0]["length"] == 48_502
    assert not step_folder(second.external_id, "step1", -1).exists()


def test_the_health_document_asks_the_hub_that_runs_it(hub_worker, live_server):
    spec = spec_of("health/workflow.json", "orchestrator")
    elsewhere = spec_of(
        "health/workflow.json",
        "orchestrator",
        {"page": "/nowhere", "overrides": {"look": {"url": f"{live_server.url}/log-in/"}}},
    )
    adapter = make_adapter()
    adapter.submit(spec)
    adapter.submit(elsewhere)
    ended = wait_for_end(spec.external_id)
    assert ended.state == "COMPLETED", ended.error
    assert ended.result == {
        "report": f"{live_server.url}/api/v1/health/live answered 200: it is alive.",
        "answer": {"status": "alive"},
    }
    other = wait_for_end(elsewhere.external_id)
    # A page, not JSON: there is no "status" in a text.
    assert other.error.endswith('"status" can\'t be taken of a text.')
    assert Step.objects.get(execution=other, name="look").result["status"] == 200
