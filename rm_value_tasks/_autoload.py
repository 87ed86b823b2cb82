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
    "generative-judge": "rm_value_tasks.models.generative_judge:GenerativeJudgeLM",
    "hf-shared-prefix": "rm_value_tasks.models.hf_shared_prefix:SharedPrefixLM",
    "implicit-reward": "rm_value_tasks.models.implicit_reward:ImplicitRewardLM",
    "recorded-rewards": "rm_value_tasks.models.recorded_rewards:RecordedRewards",
    "reward": "rm_value_tasks.models.reward:RewardLM",
    "reward-vllm": "rm_value_tasks.models.reward_vllm:VLLMRewardLM",
    "reward-server": "rm_value_tasks.models.reward_server:ServerRewardLM",
}
"""lm-eval model name -> ``module:class``; pyproject.toml's entry points say the same."""


def _register_models(module):
    from rm_value_tasks import _one_sentence

    _one_sentence.install()
    registry = sys.modules["lm_eval.api.registry"].model_registry
    for name, target in MODELS.items():
        if name not in registry:
            registry.register(name, target=target)


def _add_tasks(module):
    from functools import wraps
    from inspect import signature

    original = module.TaskManager.__init__
    parameters = signature(original)

    @wraps(original)
    def init(self, *args, **kwargs):
        try:
            bound = parameters.bind(self, *args, **kwargs)
            given = bound.arguments.get("include_path")
            if bound.arguments.get("include_defaults", True):
                bound.arguments["include_path"] = _with_ours(given)
        except Exception:  # not the signature we know: leave lm-eval alone
            return original(self, *args, **kwargs)
        original(*bound.args, **bound.kwargs)
        self.include_path = given

    module.TaskManager.__init__ = init


def _with_ours(given):
    from rm_value_tasks import task_config_dir

    ours = task_config_dir()
    given = given if isinstance(given, (list, tuple)) else [given] if given else []
    known = {os.path.realpath(str(path)) for path in given}
    return list(given) if os.path.realpath(ours) in known else [ours, *given]


_waiting = {"lm_eval.models": _register_models, "lm_eval.tasks.manager": _add_tasks}
"""Module to wait for -> what to do once it has loaded; an entry leaves when it is done."""


class _Finder:
    """A meta-path finder that lets lm-eval's modules load and then runs our hook."""

    def find_spec(self, name, path=None, target=None):
        if name not in _waiting:
            return None
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            spec = None if finder is self or find is None else find(name, path, target)
            if spec is not None:
                _run_after(name, spec.loader)
                return spec
        return None


def _run_after(name, loader):
    execute = getattr(loader, "exec_module", None)
    if execute is None:
        return

    def exec_module(module):
        execute(module)
        # A loader may serve other modules too, and a module may be loaded again.
        hook = _waiting.pop(name, None) if module.__name__ == name else None
        try:
            if hook is not None:
                hook(module)
        except Exception as error:  # an lm-eval we do not know must still work
            sys.stderr.write(
                f"rm-value-tasks: could not register with {name} "
                f"({type(error).__name__}: {error}); pass --include_path "
                '"$(rm-value-tasks task-path)" for the tasks.\n'
            )

    try:
        loader.exec_module = exec_module
    except AttributeError:  # a loader that takes no attribute: its module loads as it is
        return


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
