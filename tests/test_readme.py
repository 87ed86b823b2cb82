"""README's commands run, and its tables are what they give."""

import csv
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.lexicons.published_models import PUBLISHED_MODELS
from rm_value_tasks.models.loading.families import FAMILIES
from tests.tiny_families import BUILT, TESTED

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(
    r"<!-- run -->\n```\n(?P<command>.*?)\n```(?:\n<!-- output -->\n```\n(?P<output>.*?)\n```)?",
    re.S,
)
BLOCKS = [(match["command"], match["output"]) for match in BLOCK.finditer(README)]


def test_every_marked_block_is_found():
    assert len(BLOCKS) == README.count("<!-- run -->") > 0
    assert sum(output is not None for _, output in BLOCKS) == README.count("<!-- output -->")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that looks like the repository's root but is thrown away; runs in order."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "rm_value_tasks").symlink_to(ROOT / "rm_value_tasks")
    return folder


@pytest.mark.parametrize(("command", "output"), BLOCKS, ids=[c[:40] for c, _ in BLOCKS])
def test_commands_run_and_print_what_is_shown(folder, command, output):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    if output is not None:
        assert output.strip() in done.stdout


def test_the_published_table_is_the_packaged_one():
    block = README.partition("<!-- published -->")[2].partition("<!-- /published -->")[0]
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
    """README's table of families, from what the code knows and the tests do."""
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
    block = README.partition("<!-- families -->")[2].partition("<!-- /families -->")[0]
    assert block.strip().splitlines() == list(family_rows())
    assert set(TESTED) <= {family.name for family in FAMILIES}


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
