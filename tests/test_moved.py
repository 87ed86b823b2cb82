"""Public import paths from before the wings still lead to the same modules."""

import importlib
import subprocess
import sys

import pytest
import yaml
from lm_eval.tasks import TaskManager

from rm_value_tasks._moved import MOVED


@pytest.mark.parametrize("old", sorted(MOVED))
def test_an_old_path_gives_the_same_module(old):
    if old.endswith("__main__"):
        pytest.skip("runs when imported; the next test runs its like")
    new = importlib.import_module(MOVED[old])
    assert importlib.import_module(old) is new
    assert new.__spec__.name == MOVED[old]


def test_python_dash_m_runs_an_old_path(tmp_path):
    command = [sys.executable, "-m", "rm_value_tasks.demo.tiny_model", str(tmp_path / "model")]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "model" / "config.json").exists()


def test_a_users_task_may_name_the_old_functions(tmp_path):
    task = {
        "task": "my_dilemmas",
        "output_type": "multiple_choice",
        "doc_to_text": "x",
        "doc_to_choice": ["a", "b"],
        "doc_to_target": 0,
        "test_split": "test",
    }
    text = yaml.safe_dump(task) + "custom_dataset: !function rm_value_tasks.dilemmas.documents\n"
    (tmp_path / "mine.yaml").write_text(text)
    manager = TaskManager(include_path=str(tmp_path), include_defaults=False)
    loaded = manager.load(["my_dilemmas"])["tasks"]["my_dilemmas"]
    assert len(list(loaded.test_docs())) == 160
