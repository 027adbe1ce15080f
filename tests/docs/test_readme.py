"""The README's tour and the longer one are true: documents, addresses, commands and links."""

import json
import re
import textwrap
from pathlib import Path

import pytest
from django.conf import settings
from django.urls import resolve

from engines.dag.formats import parse

ROOT = Path(settings.BASE_DIR)
README = (ROOT / "README.md").read_text()
TOUR = (ROOT / "docs/tour.md").read_text()
CODE = "\n".join(re.findall(r"^```sh\n(.*?)^```", README + TOUR, re.MULTILINE | re.DOTALL))
YAML = textwrap.dedent(re.search(r"```yaml\n(.*?)```", README, re.DOTALL)[1])
DOCUMENTS = ["README.md", *(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]


def posted():
    """The body of the request that posts a workflow."""
    return json.loads(re.search(r"<<'JSON'\n(.*?)^JSON$", CODE, re.MULTILINE | re.DOTALL)[1])


def bodies():
    """What the tours send otherwise."""
    return [json.loads(text) for text in re.findall(r"(?:-d|start) '(\{.*?\})'", CODE)]


def test_both_ways_to_post_the_workflow_give_the_same_good_graph():
    by_hand = parse(YAML, "workflowhub")
    by_curl = parse(json.dumps(posted()["definition"]), "workflowhub")
    assert by_hand.problems == by_curl.problems == ()
    assert by_hand.warnings == by_curl.warnings == ()
    assert by_hand.normalised == by_curl.normalised


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\$HUB(/[\w/$-]+)", CODE))))
def test_every_address_of_the_tour_is_one_of_the_api(path):
    assert resolve(re.sub(r"\$[A-Z]+|\$1", "1", path)).url_name != "api-unknown"


@pytest.mark.parametrize(
    "target", sorted(set(re.findall(r"(?:^|`)make (\w+)", README, re.MULTILINE)))
)
def test_every_make_command_exists(target):
    assert f"\n{target}:" in (ROOT / "Makefile").read_text()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_to_a_file_leads_to_one(document):
    text = re.sub(r"```.*?```", "", (ROOT / document).read_text(), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)]
    folder = (ROOT / document).parent
    local = [link for link in links if link and "://" not in link]
    assert [link for link in local if not (folder / link).exists()] == []


def test_every_decision_is_a_page_of_its_number():
    pages = sorted(path.name for path in (ROOT / "docs/decisions").glob("*.md"))
    assert [name[:4] for name in pages] == [f"{n:04}" for n in range(1, len(pages) + 1)]
