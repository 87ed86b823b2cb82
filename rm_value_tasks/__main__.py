"""``python -m rm_value_tasks``: the ``rm-value-tasks`` command, as launchers start it."""

from rm_value_tasks.cli import main

if __name__ == "__main__":
    main()
