"""From a checkpoint to a reward model: families, specification, weights, heads, readouts."""
