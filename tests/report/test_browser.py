"""The report in a real browser: no console error, no request, tables sort, markup is text."""

import json
import shutil
import tempfile

import pytest

from rm_value_tasks import report
from rm_value_tasks.results import load
from tests import runs

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=document.title='owned'>"

selenium = pytest.importorskip("selenium", reason="pip package selenium is not installed")


@pytest.fixture(scope="module")
def browser():
    """Headless Chromium with its console and network logs on; Debian's driver, no download."""
    from selenium import webdriver

    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no browser: Debian's packages chromium and chromium-driver are missing")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tempfile.mkdtemp()
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "disable-dev-shm-usage", f"user-data-dir={profile}", "window-size=1100,900",
    ):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield opened
    opened.quit()
    shutil.rmtree(profile, ignore_errors=True)


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The report of three models, one of them and one word with markup for a name, opened."""
    base = tmp_path_factory.getbasetemp()
    root = runs.all_of(base)
    folder = runs.copy(root / "second", tmp_path_factory.mktemp("hostile") / "run")
    samples = runs.samples_of(folder)
    samples.write_text(samples.read_text().replace('"ability"', json.dumps(HOSTILE)))
    path = runs.results_of(folder)
    content = json.loads(path.read_text())
    content["config"] |= {"model": "reward", "model_args": {"pretrained": HOSTILE}}
    path.write_text(json.dumps(content))
    output = folder / "report.html"
    report.write(load([root / "first", root / "second", folder]), output)
    browser.get(output.as_uri())
    return browser


def cells(page, table, column):
    script = """
      const table = document.querySelectorAll("table")[arguments[0]];
      return [...table.tBodies[0].rows].map((row) => row.cells[arguments[1]].textContent);
    """
    return page.execute_script(script, table, column)


def press(page, table, column):
    heads = page.execute_script(
        'return [...document.querySelectorAll("table")[arguments[0]].querySelectorAll("th")]', table
    )
    head = heads[column]
    return head, head.find_element("tag name", "button")


def logs(browser, url):
    """What the page at ``url`` requested besides itself, and what the console said."""
    requested = []
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        # The browser's own start page makes requests too.
        if (
            message["method"] == "Network.requestWillBeSent"
            and message["params"]["documentURL"] == url
        ):
            requested.append(message["params"]["request"]["url"])
    assert url in requested  # the log was on
    others = [found[:80] for found in requested if found != url and not found.startswith("data:")]
    return others, [entry["message"] for entry in browser.get_log("browser")]


def test_nothing_is_requested_and_the_console_is_silent(page):
    assert logs(page, page.current_url) == ([], [])


def test_every_figure_is_drawn(page):
    sizes = page.execute_script(
        "return [...document.images].map((image) => [image.complete, image.naturalWidth])"
    )
    assert len(sizes) >= 4
    assert all(complete and width > 300 for complete, width in sizes)


def test_markup_from_models_is_shown_and_not_run(page):
    assert page.title != "owned"
    assert "Value lean of 3 models" in page.title
    assert page.execute_script("return document.scripts.length") == 1
    broken = "return [...document.images].filter((image) => image.getAttribute('src') === 'x')"
    assert page.execute_script(broken) == []
    text = page.execute_script("return document.body.textContent")
    assert text.count(HOSTILE) >= 3


def test_numbers_sort_both_ways_by_click(page):
    table = page.execute_script(
        """
        return [...document.querySelectorAll("table")].findIndex(
          (t) => t.caption.textContent.startsWith("Leans") && t.tBodies[0].rows.length === 2);
        """
    )
    head, button = press(page, table, 2)
    assert "agency_contrast" in head.text
    before = cells(page, table, 2)
    assert len(set(before)) == 2
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert cells(page, table, 2) == sorted(before, key=float)
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert cells(page, table, 2) == sorted(before, key=float, reverse=True)


def test_words_sort_by_the_keyboard(page):
    from selenium.webdriver.common.keys import Keys

    table = page.execute_script(
        """
        document.querySelectorAll("details").forEach((each) => { each.open = true; });
        return [...document.querySelectorAll("table")].findIndex((t) => t.rows.length > 200);
        """
    )
    before = cells(page, table, 2)
    _, button = press(page, table, 2)
    button.send_keys(Keys.ENTER)
    after = cells(page, table, 2)
    assert after == sorted(before, key=float)
    assert after != before
    _, button = press(page, table, 0)
    button.send_keys(Keys.SPACE)
    words = cells(page, table, 0)
    assert HOSTILE in words
    plain = [word for word in words if word.isalpha()]
    assert plain == sorted(plain, key=str.lower)


def test_a_narrow_window_scrolls_tables_and_not_the_page(page):
    page.set_window_size(500, 800)
    wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.execute_script(wider) <= 0


def test_the_logs_would_show_a_request_and_an_error(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.error('no')</script>")
    browser.get(path.as_uri())
    requested, said = logs(browser, path.as_uri())
    assert requested == ["http://127.0.0.1:9/x.png"]
    assert any("no" in message for message in said)
