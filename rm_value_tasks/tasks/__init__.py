"""What the task YAML names: value probes, dilemmas and preferences.

``!function rm_value_tasks.tasks.documents`` and its like stay valid in users' own YAML.
"""

from rm_value_tasks.tasks.value_probes import (
    SURFACE_FORMS,
    ValueProbe,
    documents,
    metric_names,
    value_metrics,
)

__all__ = ["SURFACE_FORMS", "ValueProbe", "documents", "metric_names", "value_metrics"]
