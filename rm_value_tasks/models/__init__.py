"""lm-eval models that score an answer to a prompt.

Importing this package registers them with lm-eval for Python users; the command line
finds them by itself (see ``rm_value_tasks._autoload``).
"""

import lm_eval.models  # noqa: F401  (fills lm-eval's registry before ours is added)

from rm_value_tasks import _autoload

__all__: list[str] = []

_autoload.install()
