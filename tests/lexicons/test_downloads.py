"""The pinned downloads, against a real server on the loopback interface."""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rm_value_tasks.errors import DataError
from rm_value_tasks.lexicons import downloads

GOOD = b"word,category\nfreedom,Agency\nlove,Communion\n"
NAME = "words.csv"


@dataclass
class Site:
    """What the server answers, in turn (the last one for ever), and what it was asked."""

    answers: list[tuple[int, bytes]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    missing_bytes: int = 0
    delay_seconds: float = 0
    url: str = ""


@pytest.fixture
def site(monkeypatch, tmp_path) -> Iterator[Site]:
    state = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.asked.append(self.path)
            time.sleep(state.delay_seconds)
            status, body = state.answers[min(len(state.asked), len(state.answers)) - 1]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body) + state.missing_bytes))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}).start()
    state.url = f"http://127.0.0.1:{server.server_port}/corpora/"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(downloads, "BASE_URL", state.url)
    monkeypatch.setattr(downloads, "PUBLISHED", {NAME: hashlib.sha256(GOOD).hexdigest()})
    monkeypatch.setattr(downloads, "RETRIES", 0)
    monkeypatch.delenv(downloads.FOLDER_ENV, raising=False)
    monkeypatch.setenv(downloads.CACHE_ENV, str(tmp_path / "cache"))
    yield state
    server.shutdown()
    server.server_close()


def assert_one_sentence_naming_both_ways(message: str) -> None:
    assert downloads.FOLDER_ENV in message
    assert "run once where the internet can be reached" in message
    assert "\n" not in message
    assert message.count(". ") == 0


def test_downloads_once_and_then_answers_from_the_cache(site, tmp_path):
    site.answers = [(200, GOOD)]
    path = downloads.fetch(NAME)
    assert path == tmp_path / "cache" / NAME
    assert path.read_bytes() == GOOD
    assert downloads.fetch(NAME) == path
    assert site.asked == [f"/corpora/{NAME}"]
    assert [file.name for file in path.parent.iterdir()] == [NAME]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((200, GOOD + b"x"), "not the pinned file"),
        ((200, b"<!doctype html><title>Log in</title>"), "not the pinned file"),
        ((404, b"404: Not Found"), "the server answered 404 Not Found"),
        ((503, b""), "the server answered 503"),
    ],
)
def test_a_bad_answer_is_refused_and_leaves_nothing(site, tmp_path, answer, reason):
    site.answers = [answer]
    with pytest.raises(DataError, match=reason) as caught:
        downloads.fetch(NAME)
    assert_one_sentence_naming_both_ways(str(caught.value))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cut_off_answer_is_refused_and_leaves_nothing(site, tmp_path):
    site.answers, site.missing_bytes = [(200, GOOD)], 100
    with pytest.raises(DataError, match="no connection"):
        downloads.fetch(NAME)
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_silent_server_is_given_up(site, monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "TIMEOUT_SECONDS", 0.2)
    site.answers, site.delay_seconds = [(200, b"")], 1.0
    with pytest.raises(DataError, match=r"no answer within 0\.2 seconds"):
        downloads.fetch(NAME)
    assert list((tmp_path / "cache").iterdir()) == []


def test_offline_says_both_ways(site, monkeypatch, tmp_path):
    monkeypatch.setattr(downloads, "BASE_URL", "http://127.0.0.1:9/corpora/")  # nothing listens
    with pytest.raises(DataError, match="no connection") as caught:
        downloads.fetch(NAME)
    assert_one_sentence_naming_both_ways(str(caught.value))
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_passing_failure_is_tried_again(site, monkeypatch):
    monkeypatch.setattr(downloads, "RETRIES", 1)
    site.answers = [(500, b""), (200, GOOD)]
    assert downloads.fetch(NAME).read_bytes() == GOOD
    assert len(site.asked) == 2


def test_a_cached_file_works_offline(site, monkeypatch):
    site.answers = [(200, GOOD)]
    path = downloads.fetch(NAME)
    monkeypatch.setattr(downloads, "BASE_URL", "http://127.0.0.1:9/corpora/")
    assert downloads.fetch(NAME) == path


def test_a_damaged_cached_file_is_replaced(site, tmp_path):
    site.answers = [(200, GOOD)]
    downloads.fetch(NAME).write_bytes(b"damaged")
    assert downloads.fetch(NAME).read_bytes() == GOOD
    assert len(site.asked) == 2


def test_a_cache_that_cannot_be_made_is_said(site, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(downloads.CACHE_ENV, str(tmp_path / "file" / "cache"))
    site.answers = [(200, GOOD)]
    with pytest.raises(DataError, match=r"could not get words\.csv") as caught:
        downloads.fetch(NAME)
    assert str(tmp_path / "file" / "cache") in str(caught.value)


def test_the_folder_wins_and_the_network_is_not_asked(site, monkeypatch, tmp_path):
    (tmp_path / NAME).write_bytes(GOOD)
    monkeypatch.setenv(downloads.FOLDER_ENV, str(tmp_path))
    assert downloads.fetch(NAME) == tmp_path / NAME
    assert site.asked == []


def test_another_file_in_the_folder_is_refused(site, monkeypatch, tmp_path):
    (tmp_path / NAME).write_bytes(GOOD.replace(b"love", b"hate"))
    monkeypatch.setenv(downloads.FOLDER_ENV, str(tmp_path))
    with pytest.raises(DataError, match="is not the published file") as caught:
        downloads.fetch(NAME)
    assert str(tmp_path / NAME) in str(caught.value)
    assert site.asked == []


def test_a_folder_without_the_file_is_refused(site, monkeypatch, tmp_path):
    monkeypatch.setenv(downloads.FOLDER_ENV, str(tmp_path))
    with pytest.raises(DataError, match=r"no readable words\.csv \(No such file"):
        downloads.fetch(NAME)
    assert site.asked == []


def test_an_unknown_name_is_refused():
    with pytest.raises(DataError, match=r"no published file is called '\.\./secret'"):
        downloads.fetch("../secret")


@pytest.mark.skipif(sys.platform != "linux", reason="XDG_CACHE_HOME is Linux's")
def test_the_cache_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv(downloads.CACHE_ENV, str(tmp_path / "mine"))
    assert downloads.cache_folder() == tmp_path / "mine"
    monkeypatch.delenv(downloads.CACHE_ENV)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert downloads.cache_folder() == tmp_path / "rm_value_tasks"


def test_the_pins_are_those_of_the_published_files(published: Path):
    for name, pinned in downloads.PUBLISHED.items():
        assert hashlib.sha256((published / name).read_bytes()).hexdigest() == pinned


def test_the_url_is_pinned_to_a_commit():
    assert downloads.BASE_URL == (
        "https://raw.githubusercontent.com/brchristian/"
        "reward_models_inherit_value_biases_from_pretraining/"
        "5d8d2e9d879bf0060c791b11300f0efda42c9bcf/data/corpora/"
    )
