"""The commands of README and docs run, and their tables are what they give."""

import csv
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tomllib
import yaml

from benchmarks.lexicons.published_models import PUBLISHED_MODELS
from rm_value_tasks.cli import cli
from rm_value_tasks.models.loading.families import FAMILIES
from rm_value_tasks.organisms.demo.example_scores import EXAMPLE_SCORES
from tests import runs, tiny
from tests.tiny_families import BUILT, TESTED

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
"""README first: other pages go on with what its first run left."""
TEXT = "\n".join(page.read_text() for page in PAGES)
BLOCK = re.compile(
    r"<!-- run -->\n```\n(?P<command>.*?)\n```(?:\n<!-- output -->\n```\n(?P<output>.*?)\n```)?",
    re.S,
)
BLOCKS = [(match["command"], match["output"]) for match in BLOCK.finditer(TEXT)]


def test_every_marked_block_is_found():
    # CONTRIBUTING says what the marks mean.
    assert len(BLOCKS) == TEXT.count("<!-- run -->") > 0
    assert sum(output is not None for _, output in BLOCKS) == TEXT.count("<!-- output -->")


def test_readme_fits_on_a_page():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_make_tests_the_oldest_versions_that_pyproject_allows():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    allowed = {name: version for name, _, version in (each.partition(">=") for each in project)}
    oldest = re.search(r"^OLDEST := (.*)$", (ROOT / "Makefile").read_text(), re.M)[1]
    pinned = dict(each.split("==") for each in oldest.split())
    assert pinned == {name: allowed[name] for name in ("transformers", "lm-eval")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that looks like the repository's root but is thrown away; runs in order."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "rm_value_tasks").symlink_to(ROOT / "rm_value_tasks")
    return folder


@pytest.mark.parametrize(("command", "output"), BLOCKS, ids=[c[:40] for c, _ in BLOCKS])
def test_commands_run_and_print_what_is_shown(folder, command, output):
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    if output is not None:
        assert output.strip() in done.stdout


def test_the_published_table_is_the_packaged_one():
    block = TEXT.partition("<!-- published -->")[2].partition("<!-- /published -->")[0]
    shown = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in block.strip().splitlines()[2:]
    ]
    with PUBLISHED_MODELS.open() as file:
        rows = sorted(csv.DictReader(file), key=lambda row: -float(row["agency_contrast"]))
    assert shown == [
        [
            row["model"],
            row["base"],
            f"{float(row['agency_contrast']):.4f} ± {float(row['agency_contrast_stderr']):.4f}",
            f"{float(row['agency_positive']):.4f}",
            f"{float(row['agency_negative']):.4f}",
        ]
        for row in rows
    ]


def family_rows():
    """The table of families, from what the code knows and the tests do."""
    yield "| family | models | found by | readout | tested how |"
    yield "|---|---|---|---|---|"
    # The plainest first; those that --model reward cannot score last.
    for family in sorted(
        reversed(FAMILIES), key=lambda each: (each.refusal != "", each.model != "reward")
    ):
        readout = f"`{family.readout}`" if family.readout else f"`--model {family.model}`"
        readout += ", `trust_remote_code=True`" if family.code else ""
        readout = "refused" if family.refusal else readout
        tested = "refusal" if family.refusal else TESTED.get(family.name, BUILT)
        yield f"| {family.name} | {family.examples} | {family.found_by} | {readout} | {tested} |"


def test_the_table_of_families_is_the_codes():
    block = TEXT.partition("<!-- families -->")[2].partition("<!-- /families -->")[0]
    assert block.strip().splitlines() == list(family_rows())
    assert set(TESTED) <= {family.name for family in FAMILIES}


@pytest.mark.parametrize(
    "page",
    [*PAGES, ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("task_configs/*/README.md"))],
    ids=lambda page: page.relative_to(ROOT).as_posix(),
)
def test_links_lead_somewhere(page):
    for target, anchor in re.findall(r"\]\((?!http)([^)#]*)(?:#([^)]*))?\)", page.read_text()):
        there = page.parent / target if target else page
        assert there.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", there.read_text(), re.M)
            assert anchor in {slug(heading) for heading in headings}, f"{target}#{anchor}"


def slug(heading):
    """The anchor that GitHub and the site give a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def test_the_ci_recipe_runs(tmp_path):
    """Its own steps, on a tiny model: the same model passes the gate, a leaning one does not."""
    text = TEXT.partition("<!-- ci -->\n```yaml\n")[2].partition("\n```")[0]
    steps = yaml.safe_load(text)["jobs"]["lean"]["steps"]
    commands = {step["name"]: step["run"] for step in steps if "name" in step}
    tiny.save(tmp_path / "checkpoint", "llama")

    def run(name):
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands[name]], cwd=tmp_path, check=False,
            env={**ENVIRONMENT, "CHECKPOINT": "checkpoint"}, capture_output=True, text=True,
        ).returncode  # fmt: skip

    assert run("Probe") == 0
    shutil.copytree(tmp_path / "runs", tmp_path / "baseline")
    assert run("Gate") == 0
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().tag.startswith("testsuite")
    assert run("Report") == 0
    uploaded = steps[-1]["with"]["path"].split("\n")
    assert all((tmp_path / path).exists() for path in uploaded)
    shutil.rmtree(tmp_path / "baseline")
    scores = {"path": str(EXAMPLE_SCORES)}  # lean to agency, as planted
    runs.evaluate(tmp_path / "baseline", "recorded-rewards", scores, ["value_bias_big2"])
    assert run("Gate") == 1


def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs_click", reason="the docs extra is not installed (make docs)")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", ".mkdocs.yml", "-d", tmp_path],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    commands = (tmp_path / "commands.html").read_text()
    assert all(f"rm-value-tasks {name}" in commands for name in cli.commands)
    assert "Exit 0 if" in commands
    assert "UNSET" not in commands  # how click says "no default"
    assert "RewardLM" in (tmp_path / "api" / "models.html").read_text()
