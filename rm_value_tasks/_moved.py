"""Modules that people import by name and that moved: the old path still gives the same module.

One table instead of a stub file each, so that the listing shows the rooms alone. It is
imported whenever the interpreter starts and so imports nothing.
"""

import sys

__all__ = ["MOVED", "install"]

MOVED = {
    "rm_value_tasks.comparison": "rm_value_tasks.analyses.compare",
    "rm_value_tasks.demo": "rm_value_tasks.organisms.demo",
    "rm_value_tasks.demo.__main__": "rm_value_tasks.organisms.demo.__main__",
    "rm_value_tasks.demo.families": "rm_value_tasks.organisms.demo.families",
    "rm_value_tasks.demo.tiny_model": "rm_value_tasks.organisms.demo.tiny_model",
    "rm_value_tasks.dilemmas": "rm_value_tasks.tasks.dilemmas",
    "rm_value_tasks.durability": "rm_value_tasks.analyses.durability",
    "rm_value_tasks.exports": "rm_value_tasks.publish.exports",
    "rm_value_tasks.gate": "rm_value_tasks.analyses.gate",
    "rm_value_tasks.leaderboard": "rm_value_tasks.publish.leaderboard",
    "rm_value_tasks.lean": "rm_value_tasks.stats.lean",
    "rm_value_tasks.preferences": "rm_value_tasks.tasks.preferences",
    "rm_value_tasks.scorers": "rm_value_tasks.models",
    "rm_value_tasks.scorers.hf_shared_prefix": "rm_value_tasks.models.hf_shared_prefix",
    "rm_value_tasks.scorers.implicit": "rm_value_tasks.models.implicit_reward",
    "rm_value_tasks.scorers.judge": "rm_value_tasks.models.generative_judge",
    "rm_value_tasks.scorers.recorded": "rm_value_tasks.models.recorded_rewards",
    "rm_value_tasks.scorers.reward": "rm_value_tasks.models.reward",
    "rm_value_tasks.scorers.server": "rm_value_tasks.models.reward_server",
    "rm_value_tasks.tracing": "rm_value_tasks.analyses.tracing",
}
"""Old path -> new path."""


class _Finder:
    """A meta-path finder that answers for the old paths alone.

    It is asked first: an old package stands for a new one, in whose folder Python would
    else find the old submodules, as second copies.
    """

    def find_spec(self, name, path=None, target=None):
        if name not in MOVED:
            return None
        # type(__spec__) is ModuleSpec, had without an import at every interpreter start.
        package = any(old.startswith(name + ".") for old in MOVED)
        return type(__spec__)(name, self, is_package=package)  # type: ignore[arg-type]

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        from importlib import import_module

        sys.modules[module.__name__] = import_module(MOVED[module.__name__])

    def get_code(self, name):
        """Return what ``python -m OLD_PATH`` runs."""
        from importlib.util import find_spec

        spec = find_spec(MOVED[name])
        return spec.loader.get_code(spec.name)  # type: ignore[union-attr]


def install():
    """Let Python find the old paths."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


install()
