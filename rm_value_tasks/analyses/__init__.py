"""Questions asked of several runs: compare, gate, analysis of variance, tracing, durability."""
