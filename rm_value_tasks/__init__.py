"""Value probes for reward models and language models, as lm-eval tasks and models.

This module is imported whenever the interpreter starts (see ``_autoload``), so it uses
nothing but what the interpreter has already loaded.
"""

import os.path

from rm_value_tasks import _moved  # noqa: F401  (old import paths still work)

__all__ = ["__version__", "task_config_dir"]

__version__ = "0.1.0"


def task_config_dir() -> str:
    """Return the folder that holds this package's lm-eval task YAML files.

    A wheel carries the folder inside the package; an editable install reads the one
    beside it.
    """
    package = os.path.dirname(os.path.abspath(__file__))
    installed = os.path.join(package, "task_configs")
    if os.path.isdir(installed):
        return installed
    return os.path.join(os.path.dirname(package), "task_configs")
