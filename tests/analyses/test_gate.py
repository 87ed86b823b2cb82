"""The gate's exit codes, its one line and its JUnit file."""

from xml.etree import ElementTree

import pandas as pd
import pytest
from click.testing import CliRunner

from rm_value_tasks.analyses import compare
from rm_value_tasks.analyses.compare import Comparison
from rm_value_tasks.analyses.gate import Verdict, judge, junit
from rm_value_tasks.cli import cli
from rm_value_tasks.errors import DataError
from tests import runs


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return runs.all_of(tmp_path_factory.getbasetemp())


def found(low, high, task="value_bias_big2", copies=1):
    shift = (low + high) / 2
    row = {
        "task": task,
        "metric": "agency_contrast",
        "first": 0.5,
        "second": 0.5 + shift,
        "shift": shift,
        "low": low,
        "high": high,
        "smallest_detectable": 0.04,
    }
    rows = [{**row, "task": f"{task}{i or ''}"} for i in range(copies)]
    return Comparison("a", "b", pd.DataFrame(rows), ())


@pytest.mark.parametrize(
    ("low", "high", "code", "words"),
    [
        (-0.01, 0.01, 0, "within the allowed 0.05"),
        (-0.05, 0.05, 0, "within the allowed 0.05"),
        (0.06, 0.1, 1, "beyond the allowed 0.05"),
        (-0.1, -0.06, 1, "beyond the allowed 0.05"),
        (0.04, 0.2, 0, "not shown to be beyond the allowed 0.05"),
        (-0.2, 0.2, 0, "smallest detectable shift 0.040"),
    ],
)
def test_only_an_interval_wholly_outside_fails(low, high, code, words):
    verdict = judge(found(low, high), "agency_contrast", 0.05)
    assert verdict.exit_code == code
    assert words in verdict.reason
    assert "\n" not in verdict.reason


def test_which_metric():
    with pytest.raises(DataError, match="have no care_virtue_contrast; they have: agency_contrast"):
        judge(found(0, 0), "care_virtue_contrast", 0.1)
    with pytest.raises(DataError, match="give --task"):
        judge(found(0, 0, copies=2), "agency_contrast", 0.1)
    assert judge(found(0, 0, copies=2), "agency_contrast", 0.1, "value_bias_big21").exit_code == 0
    for wrong in (float("nan"), -0.1):
        with pytest.raises(DataError, match="allowed shift"):
            judge(found(0, 0), "agency_contrast", wrong)


def gate(*arguments):
    return CliRunner().invoke(cli, ["gate", *map(str, arguments)])


def test_exit_codes_of_real_runs(root, tmp_path):
    first, second = root / "first", root / "second"
    same = gate(first, "--baseline", first, "--max-shift", "0")
    assert same.exit_code == 0, same.output
    assert same.output.startswith("passed: agency_contrast moved by +0.000")
    moved = gate(second, "--baseline", first, "--max-shift", "0.01")
    assert moved.exit_code == 1, moved.output
    assert "failed: agency_contrast moved by -0." in moved.output
    allowed = gate(second, "--baseline", first, "--max-shift", "0.9")
    assert allowed.exit_code == 0
    held = gate(second, "--baseline", first, "--max-shift", "0.02", "--metric", "agency_negative")
    assert held.exit_code == 0


def empty(tmp_path, root):
    return tmp_path


def missing(tmp_path, root):
    return tmp_path / "nowhere"


def damaged(tmp_path, root):
    folder = runs.copy(root / "first", tmp_path / "run")
    runs.samples_of(folder).unlink()
    return folder


def other_lexicon(tmp_path, root):
    return root / "plain"


@pytest.mark.parametrize("make", [empty, missing, damaged, other_lexicon])
def test_unusable_input_is_two_and_ci_sees_it(root, tmp_path, make):
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in", root)
    report = tmp_path / "junit.xml"
    done = gate(path, "--baseline", root / "first", "--max-shift", "0.1", "--junit", report)
    assert done.exit_code == 2, done.output
    assert "error: " in done.output
    (error,) = ElementTree.parse(report).iter("error")
    assert error.get("type") == "unusable input"


def test_a_crash_is_not_a_shift(root, monkeypatch):
    def crash(*_):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(compare, "compare", crash)
    done = gate(root / "first", "--baseline", root / "first", "--max-shift", "0.1")
    assert done.exit_code == 2
    assert "ZeroDivisionError: boom" in done.output


def test_bad_arguments_are_two(root):
    for shift in ("-1", "much", "nan"):
        done = gate(root / "first", "--baseline", root / "first", "--max-shift", shift)
        assert done.exit_code == 2, shift


@pytest.mark.parametrize(
    ("status", "tag", "counts"),
    [
        ("passed", "system-out", ("1", "0", "0")),
        ("failed", "failure", ("1", "1", "0")),
        ("error", "error", ("1", "0", "1")),
    ],
)
def test_junit(status, tag, counts):
    reason = 'it <moved> & "more" \x00\x1b[31m than ]]> allowed'
    text = junit(Verdict(status, reason, "task.metric"))
    suites = ElementTree.fromstring(text)
    (suite,) = suites
    (case,) = suite
    (outcome,) = case
    assert (suites.tag, suite.tag, case.tag, outcome.tag) == (
        "testsuites",
        "testsuite",
        "testcase",
        tag,
    )
    assert tuple(suite.get(name) for name in ("tests", "failures", "errors")) == counts
    assert (case.get("classname"), case.get("name")) == ("task", "metric")
    assert outcome.text == 'it <moved> & "more" \ufffd\ufffd[31m than ]]> allowed'


def test_compare_command(root, tmp_path):
    target = tmp_path / "table.md"
    arguments = ["compare", str(root / "first"), str(root / "second")]
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert "| value_bias_big2 | agency_contrast |" in done.output
    written = CliRunner().invoke(cli, [*arguments, "-o", str(target)])
    assert written.exit_code == 0
    assert target.read_text() in done.output
