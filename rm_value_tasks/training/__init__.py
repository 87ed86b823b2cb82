"""Reward-model training grids on TRL, with the lean measured at every checkpoint.

``config`` reads the YAML into a ``plan``; ``pairs`` and ``converters`` give the preference
data, ``models`` and ``grm`` the model and its objective; ``probe`` measures the lean of a
model in training; ``cell`` trains one model and ``grid`` all of them. TRL's ``RewardTrainer``
is the only loop.
"""

__all__: list[str] = []
