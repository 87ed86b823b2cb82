"""Discovery by stock lm_eval, in interpreters of their own."""

import os
import re
import subprocess
import sys
import textwrap
from importlib import metadata
from pathlib import Path

import pytest
import tomllib

from rm_value_tasks import _autoload

ROOT = Path(__file__).resolve().parents[1]


def run(code: str, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *flags, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )


def test_models_are_found_without_a_flag():
    done = run("""
        from lm_eval.api.registry import get_model
        print(get_model("reward").__module__, get_model("recorded-rewards").__module__)
    """)
    assert done.stdout.split() == [
        "rm_value_tasks.models.reward",
        "rm_value_tasks.models.recorded_rewards",
    ]


def test_tasks_are_found_after_lm_evals_own_and_before_the_users(tmp_path):
    (tmp_path / "mine.yaml").write_text("task: value_bias_big2\ndataset_path: mine\n")
    done = run(f"""
        from lm_eval.tasks import TaskManager
        mine = TaskManager(include_path={str(tmp_path)!r})
        print("arc_easy" in mine.all_tasks, "value_bias" in mine.all_groups)
        print("value_bias_paper_big2" in mine.all_tasks)
        print(mine.task_index["value_bias_big2"].yaml_path.name)
        print(mine.include_path == {str(tmp_path)!r})
    """)
    assert done.stdout.split() == ["True", "True", "True", "mine.yaml", "True"]


def test_giving_the_folder_by_hand_as_well_does_no_harm():
    done = run("""
        from rm_value_tasks import task_config_dir
        from lm_eval.tasks import TaskManager
        print("value_bias" in TaskManager(include_path=task_config_dir()).all_groups)
        print("value_bias" in TaskManager(include_defaults=False).all_groups)
    """)
    assert done.stdout.split() == ["True", "False"]
    assert "overrides" not in done.stderr


def test_a_later_lm_evals_own_discovery_is_left_alone():
    done = run("""
        from lm_eval.api.registry import model_registry
        model_registry.register("reward", target="found.by.lm_eval:Itself")
        import lm_eval.models
        print(model_registry._objs["reward"], "recorded-rewards" in model_registry)
    """)
    assert done.stdout.split() == ["found.by.lm_eval:Itself", "True"]
    assert done.stderr == ""


def test_the_environment_switches_it_off_but_python_users_still_register():
    done = run(
        """
        import lm_eval.models
        from lm_eval.api.registry import model_registry
        before = "reward" in model_registry
        import rm_value_tasks.models, rm_value_tasks.models
        print(before, "reward" in model_registry)
        """,
        RM_VALUE_TASKS_AUTOLOAD="0",
    )
    assert done.stdout.split() == ["False", "True"]


def test_interpreter_start_loads_nothing_more():
    listing = "import sys; print(*sorted(sys.modules))"
    off = set(run(listing, RM_VALUE_TASKS_AUTOLOAD="0").stdout.split())
    assert {name for name in off if "lm_eval" in name or "torch" in name} == set()
    ours = {name for name in off if name.startswith("rm_value_tasks")}
    assert ours == {"rm_value_tasks", "rm_value_tasks._autoload", "rm_value_tasks._moved"}
    imported = re.findall(r"^import (\S+)", Path(_autoload.__file__).read_text(), re.M)
    assert set(imported) == {"os", "sys"}  # both are loaded by the interpreter itself


def test_importing_the_package_loads_neither_torch_nor_lm_eval():
    done = run(
        "import rm_value_tasks, sys; print('torch' in sys.modules, 'lm_eval' in sys.modules)"
    )
    assert done.stdout.split() == ["False", "False"]


@pytest.mark.parametrize("broken", ["raise RuntimeError('broken')", "TaskManager = None"])
def test_a_broken_lm_eval_does_no_harm(tmp_path, broken):
    package = tmp_path / "lm_eval"
    (package / "tasks").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "models.py").write_text("")
    (package / "tasks" / "__init__.py").write_text("")
    (package / "tasks" / "manager.py").write_text(broken)
    done = run(
        """
        import lm_eval.models
        try:
            import lm_eval.tasks.manager
        except RuntimeError as error:
            print(error)
        print("alive")
        """,
        PYTHONPATH=str(tmp_path),
    )
    assert done.returncode == 0
    assert done.stdout.split()[-1] == "alive"
    assert "rm-value-tasks: could not register" in done.stderr


def test_an_absent_lm_eval_does_no_harm():
    done = run(
        """
        import rm_value_tasks._autoload
        try:
            import lm_eval.models
        except ModuleNotFoundError as error:
            print(error.name)
        """,
        "-S",
        PYTHONPATH=str(ROOT),
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "lm_eval", "")


def test_entry_points_say_the_same_as_the_hook():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["lm_eval.models"] == _autoload.MODELS
    installed = metadata.entry_points(group="lm_eval.models")
    assert {point.name for point in installed} >= set(_autoload.MODELS)


def test_looking_for_the_module_first_does_not_lose_the_hook():
    done = run("""
        from importlib.util import find_spec
        find_spec("lm_eval.models")
        import lm_eval.models
        from lm_eval.api.registry import model_registry
        print("reward" in model_registry)
    """)
    assert done.stdout.split() == ["True"]


def test_a_task_manager_of_another_signature_works_as_without_us(tmp_path):
    package = tmp_path / "lm_eval"
    (package / "tasks").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "tasks" / "__init__.py").write_text("")
    (package / "tasks" / "manager.py").write_text(
        "class TaskManager:\n    def __init__(self, *, paths=()):\n        self.paths = paths\n"
    )
    done = run(
        "from lm_eval.tasks.manager import TaskManager; print(TaskManager(paths=[1]).paths)",
        PYTHONPATH=str(tmp_path),
    )
    assert (done.stdout.strip(), done.returncode) == ("[1]", 0)


def test_a_loader_that_takes_no_attribute_loads_its_module():
    class Slotted:
        __slots__ = ()

        def exec_module(self, module):
            pass

    _autoload._run_after("lm_eval.models", Slotted())
