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


def rename(sample):
    words = sample["doc"]["words"]
    sample["doc"]["words"] = [HOSTILE if word == "ability" else word for word in words]


@pytest.fixture(scope="module")
def page(browser, tmp_path_factory):
    """The report of three models, one of them and one word with markup for a name, opened."""
    base = tmp_path_factory.getbasetemp()
    root = runs.all_of(base)
    folder = runs.copy(root / "second", tmp_path_factory.mktemp("hostile") / "run")
    runs.remake(folder, rename)
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
    head, button = press(page, table, 1)
    assert "agency_contrast" in head.text
    before = cells(page, table, 1)
    assert len(set(before)) == 2
    button.click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert cells(page, table, 1) == sorted(before, key=float)
    button.click()
    assert head.get_attribute("aria-sort") == "descending"
    assert cells(page, table, 1) == sorted(before, key=float, reverse=True)


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


@pytest.fixture(params=[(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")])
def screen(page, request):
    """The page on a phone or a desk, in either scheme."""
    width, scheme = request.param
    shape = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    page.execute_script(
        'document.querySelectorAll("details").forEach((each) => { each.open = true; });'
    )
    # The page's own observer runs before the second frame.
    page.execute_async_script(
        "requestAnimationFrame(() => requestAnimationFrame(arguments[arguments.length - 1]))"
    )
    yield page
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def test_nothing_is_cut_without_saying_so(screen):
    wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert screen.execute_script(wider) <= 0
    found = screen.execute_script("""
      return [...document.querySelectorAll("table, figure img")].map((each) => {
        const region = each.closest(".scroll");
        const line = region.previousElementSibling;
        return {
          cut: each.getBoundingClientRect().width > region.clientWidth + 1,
          said: !line.hidden && line.textContent.includes("scroll sideways"),
          scrolls: getComputedStyle(region).overflowX === "auto",
          reached: region.tabIndex === 0 && region.getAttribute("aria-label") !== "",
        };
      });
    """)
    assert len(found) >= 8
    assert all(each["scrolls"] and each["reached"] for each in found)
    assert all(each["said"] == each["cut"] for each in found)


def test_the_headline_column_is_in_view(screen):
    right = screen.execute_script("""
      return [...document.querySelectorAll("th")].find(
        (head) => head.textContent === "agency_contrast").getBoundingClientRect().right;
    """)
    assert right <= screen.execute_script("return document.documentElement.clientWidth")


def test_figures_keep_their_letters_legible(screen):
    """Letters are 8 points of a figure 7.4 inches wide: 10 pixels need 666."""
    widths = screen.execute_script("return [...document.images].map((image) => image.width)")
    assert min(widths) >= 666


def test_text_stands_out_as_wcag_asks(screen):
    """Contrast of 4.5 (WCAG 2, level AA), by its formula, for every text on the page."""
    poor = screen.execute_script("""
      const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
      const luminance = (colour) => parse(colour).slice(0, 3).map((c) => c / 255)
        .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
      const ground = (element) => {
        for (let each = element; each; each = each.parentElement) {
          const colour = getComputedStyle(each).backgroundColor;
          if ((parse(colour)[3] ?? 1) > 0) return colour;
        }
        return "rgb(255, 255, 255)";
      };
      const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      const poor = [];
      let count = 0;
      for (const element of document.querySelectorAll("body *:not(script)")) {
        const own = [...element.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
        if (!own) continue;
        const back = luminance(ground(element));
        for (const part of [null, "::after"]) {
          const front = luminance(getComputedStyle(element, part).color);
          count += 1;
          if (ratio(front, back) < 4.5) poor.push(element.tagName + (part ?? ""));
        }
      }
      return count > 1000 ? [...new Set(poor)] : ["too few"];
    """)
    assert poor == []


def test_the_scheme_is_the_readers(screen):
    dark = screen.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
    ground = screen.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(26, 26, 26)" if dark else "rgb(255, 255, 255)")


def test_a_word_in_a_figure_says_its_place_when_touched(screen):
    spots = screen.find_elements("css selector", ".spot")
    assert len(spots) >= 30
    shown = 'return getComputedStyle(arguments[0], "::after").content'
    spot = spots[0]
    screen.execute_script("arguments[0].blur()", spot)
    assert screen.execute_script(shown, spot) == "none"
    screen.execute_script("arguments[0].focus()", spot)
    assert spot.get_attribute("data-tip") in screen.execute_script(shown, spot)


def test_paper_shows_every_column(page):
    """A4 less its margins, where nothing scrolls."""
    shape = {"width": 703, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", shape)
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        rights = page.execute_script("""
          return [...document.querySelectorAll("th, td, figure img")]
            .map((each) => each.getBoundingClientRect().right);
        """)
        assert max(rights) <= 704
        ground = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        assert ground == "rgb(255, 255, 255)"
    finally:
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_logs_would_show_a_request_and_an_error(browser, tmp_path):
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://127.0.0.1:9/x.png'><script>console.error('no')</script>")
    browser.get(path.as_uri())
    requested, said = logs(browser, path.as_uri())
    assert requested == ["http://127.0.0.1:9/x.png"]
    assert any("no" in message for message in said)
