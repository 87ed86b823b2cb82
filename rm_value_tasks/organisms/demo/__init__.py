"""The job that ``make demo`` runs: lm_eval on a tiny reward model and on recorded scores."""

from __future__ import annotations

from typing import Any

__all__ = ["capitals"]

_CAPITALS = {
    "France": "Paris", "Japan": "Tokyo", "Kenya": "Nairobi", "Peru": "Lima", "Norway": "Oslo",
    "Egypt": "Cairo", "Canada": "Ottawa", "Greece": "Athens", "Vietnam": "Hanoi", "Cuba": "Havana",
}  # fmt: skip


def capitals(**metadata: Any) -> dict[str, Any]:
    """Build an ordinary multiple-choice task's documents, without a hub."""
    import datasets

    names = sorted(_CAPITALS.values())
    rows = []
    for index, (country, capital) in enumerate(_CAPITALS.items()):
        wrong = [name for name in names[index:] + names[:index] if name != capital][:3]
        choices = sorted([capital, *wrong])
        rows.append({"country": country, "choices": choices, "gold": choices.index(capital)})
    return {"test": datasets.Dataset.from_list(rows)}
