"""Make stock ``lm_eval`` find our models and tasks, without importing anything now.

A ``.pth`` file imports this module when the interpreter starts. It must therefore cost
next to nothing, import only what is loaded already and never raise. It puts one finder
on ``sys.meta_path`` that waits for two lm-eval modules; when one is imported, it
registers our models by lazy string, or adds our task folder to the ``TaskManager``.

``RM_VALUE_TASKS_AUTOLOAD=0`` switches it off. Where lm-eval has already found a name by
itself (entry points, in releases after 0.4.13), that registration is left alone.
"""

import os
import sys

__all__ = ["MODELS", "install"]

MODELS = {
    "hf-shared-prefix": "rm_value_tasks.scorers.hf_shared_prefix:SharedPrefixLM",
    "implicit-reward": "rm_value_tasks.scorers.implicit:ImplicitRewardLM",
    "recorded-rewards": "rm_value_tasks.scorers.recorded:RecordedRewards",
    "reward": "rm_value_tasks.scorers.reward:RewardLM",
}
"""lm-eval model name -> ``module:class``; pyproject.toml's entry points say the same."""


def _register_models(module):
    registry = sys.modules["lm_eval.api.registry"].model_registry
    for name, target in MODELS.items():
        if name not in registry:
            registry.register(name, target=target)


def _add_tasks(module):
    from functools import wraps

    from rm_value_tasks import task_config_dir

    original = module.TaskManager.__init__

    @wraps(original)
    def init(self, verbosity=None, include_path=None, include_defaults=True, *args, **kwargs):
        ours = task_config_dir()
        given = include_path if include_path else []
        if not isinstance(given, (list, tuple)):
            given = [given]
        known = {os.path.realpath(str(path)) for path in given}
        if include_defaults and os.path.realpath(ours) not in known:
            given = [ours, *given]
        original(self, verbosity, list(given) or None, include_defaults, *args, **kwargs)
        self.include_path = include_path

    module.TaskManager.__init__ = init


_waiting = {"lm_eval.models": _register_models, "lm_eval.tasks.manager": _add_tasks}
"""Module to wait for -> what to do once it has loaded; an entry leaves when it is done."""


class _Finder:
    """A meta-path finder that lets lm-eval's modules load and then runs our hook."""

    def find_spec(self, name, path=None, target=None):
        hook = _waiting.pop(name, None)
        if hook is None:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec = None if finder is self or find is None else find(name, path, target)
            if spec is not None:
                _run_after(spec.loader, hook)
                break
        if not _waiting:
            sys.meta_path.remove(self)
        return spec


def _run_after(loader, hook):
    execute = getattr(loader, "exec_module", None)
    if execute is None:
        return

    def exec_module(module):
        execute(module)
        try:
            hook(module)
        except Exception as error:  # an lm-eval we do not know must still work
            sys.stderr.write(
                f"rm-value-tasks: could not register with {module.__name__} "
                f"({type(error).__name__}: {error}); pass --include_path "
                '"$(rm-value-tasks task-path)" for the tasks.\n'
            )

    loader.exec_module = exec_module


def install():
    """Wait for lm-eval's modules, or act at once on those that have loaded already."""
    for name in list(_waiting):
        if name in sys.modules:
            _waiting.pop(name)(sys.modules[name])
    if _waiting and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


if os.environ.get("RM_VALUE_TASKS_AUTOLOAD") != "0":
    try:
        install()
    except Exception as error:
        sys.stderr.write(f"rm-value-tasks: discovery is off ({type(error).__name__}: {error})\n")
