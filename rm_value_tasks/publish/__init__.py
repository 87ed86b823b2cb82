"""Runs beside others and in other places' forms: leaderboard, exports, published models."""
