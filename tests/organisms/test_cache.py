import pytest

from rm_value_tasks.organisms.cache import cached


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("RM_VALUE_TASKS_CACHE", str(tmp_path))
    return tmp_path / "organisms"


def test_the_same_settings_are_made_once(store):
    made = []

    def make(folder):
        made.append(folder)
        (folder / "weights").write_text("w")

    first = cached("base", {"seed": 0}, make)
    assert cached("base", {"seed": 0}, make) == first
    assert (first / "weights").read_text() == "w"
    assert len(made) == 1
    assert cached("base", {"seed": 1}, make) != first
    assert cached("instruct", {"seed": 0}, make) != first
    assert len(made) == 3
    assert len(list(store.iterdir())) == 3


def test_other_code_or_another_library_is_made_anew(store, monkeypatch):
    first = cached("base", {}, lambda folder: None)
    monkeypatch.setattr("rm_value_tasks.organisms.cache._code_digest", lambda: "other")
    second = cached("base", {}, lambda folder: None)
    monkeypatch.setattr("rm_value_tasks.organisms.cache.version", lambda name: "0")
    third = cached("base", {}, lambda folder: None)
    assert len({first, second, third}) == 3


def test_what_fails_leaves_nothing_behind(store):
    def fail(folder):
        (folder / "half").write_text("")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        cached("base", {}, fail)
    assert list(store.iterdir()) == []
