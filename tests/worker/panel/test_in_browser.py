# SPDX-License-Identifier: AGPL-3.0-or-later
"""The panel as its owner meets it: in Chromium, on a real worker of a real horde."""

from urllib.parse import urlsplit

import pytest
from browsing import DESKTOP, PHONE, Browser, Place, chromium
from processes import wait_until
from selenium.webdriver.common.by import By

from openhorde.worker.settings import load_settings

CHOSEN = "a longer one of mine"
TABS = ("Work", "Earnings", "Engines", "Settings", "Test", "Log")


@pytest.fixture
def inside(place: Place, browser: Browser) -> Browser:
    """Logged in, at the first tab."""
    browser.log_in(place)
    return browser


def test_only_the_right_password_opens(place: Place, browser: Browser) -> None:
    browser.open(place)
    assert urlsplit(browser.driver.current_url).path == "/login"
    browser.type_password("a wrong password")
    browser.shows(".notice", "This is not the password.")
    browser.type_password(place.password)
    browser.shows("#phase", "working")
    assert urlsplit(browser.driver.current_url).path == "/"


def test_a_setting_lands_in_the_file_and_in_the_running_worker(
    place: Place, inside: Browser
) -> None:
    inside.tab("Settings")
    inside.group("How much at once")
    inside.enter("#setting-max_power input", "24")
    inside.press("#save")
    inside.shows("#saved", "In force: max_power.")
    assert load_settings(place.config).max_power == 24
    assert "max_power: 24  # up to 724 x 724" in place.config.read_text()
    wait_until(
        lambda: place.seen_by_the_horde().get("max_pixels") == 24 * 64 * 64 * 8,
        "the worker asks for larger pictures",
    )


def test_what_is_out_of_bounds_is_told_at_its_field(place: Place, inside: Browser) -> None:
    before = place.config.read_text()
    inside.tab("Settings")
    inside.group("How much at once")
    inside.enter("#setting-max_power input", "9999")
    inside.press("#save")
    inside.shows("#setting-max_power", "it must be a whole number from 1 to 512")
    assert place.config.read_text() == before
    inside.enter("#setting-max_power input", "32")
    inside.press("#save")
    inside.shows("#saved", "In force: max_power.")
    assert "is not allowed" not in inside.text("#setting-max_power")


def test_engines_are_opened_anew_where_a_setting_needs_it(place: Place, inside: Browser) -> None:
    inside.tab("Settings")
    inside.group("How much at once")
    inside.enter("#setting-max_threads input[type=number]", "2")
    inside.press("#save")
    inside.shows("#saved", "Needs a restart: max_threads.")
    inside.press("#restart")
    inside.tab("Engines")
    inside.shows("#engines", "fake 2")
    assert load_settings(place.config).max_threads == 2


def can_press(browser: Browser, css: str) -> bool:
    return browser.driver.find_element(By.CSS_SELECTOR, css).is_enabled()


def test_the_worker_is_drained_and_started(place: Place, inside: Browser) -> None:
    inside.shows("#phase", "working")
    inside.until(lambda: not can_press(inside, "#start"), "what works cannot be started")
    inside.press("#stop")
    inside.shows("#told", "finishes what is in hand")
    inside.shows("#phase", "resting")
    inside.shows("#kinds", "resting")
    inside.until(lambda: not can_press(inside, "#stop"), "what rests cannot be stopped")
    inside.press("#start")
    inside.shows("#phase", "working")
    inside.until(lambda: can_press(inside, "#stop"), "what works can be stopped")
    assert place.worker.lives


def test_maintenance_is_set_at_the_horde(place: Place, inside: Browser) -> None:
    inside.shows("#maintenance", "Maintenance on")
    inside.press("#maintenance")
    inside.shows("#told", "in maintenance")
    assert place.seen_by_the_horde()["maintenance_mode"]
    inside.shows("#phase", "in maintenance")
    inside.shows("#kinds", "in maintenance")
    inside.shows("#maintenance", "Maintenance off")
    inside.press("#maintenance")
    inside.shows("#told", "available")
    assert not place.seen_by_the_horde()["maintenance_mode"]
    inside.shows("#phase", "working")
    inside.until(
        lambda: "in maintenance" not in inside.text("#kinds"), "no kind is shown in maintenance"
    )


def test_settings_are_searched_and_narrowed_to_what_was_changed(inside: Browser) -> None:
    inside.tab("Settings")

    def seen(name: str) -> bool:
        found = inside.driver.find_elements(By.CSS_SELECTOR, f"#setting-{name}")
        return any(one.is_displayed() for one in found)

    inside.enter("#search :is(input, textarea)", "gpu memory")
    inside.until(lambda: seen("gpu_memory_mib") and not seen("worker_name"), "what was sought")
    inside.enter("#search :is(input, textarea)", " ")
    inside.press("#changed-only input")
    inside.until(lambda: seen("worker_name") and not seen("scribe_name"), "what was changed")
    inside.press("#changed-only input")
    inside.group("Engines")
    inside.until(lambda: seen("cpu_threads"), "settings of every engine")
    assert not seen("openai_url")
    inside.enter("#search :is(input, textarea)", "openai")
    inside.until(lambda: seen("openai_url"), "what is sought is shown, though it is not used")


def test_save_and_undo_are_there_once_something_was_changed(inside: Browser) -> None:
    inside.tab("Settings")
    inside.group("How much at once")

    def offered() -> bool:
        return inside.driver.find_element(By.CSS_SELECTOR, "#save").is_displayed()

    inside.until(lambda: not offered(), "nothing to save")
    inside.enter("#setting-max_power input", "21")
    inside.until(offered, "something to save")
    inside.press("#undo")
    inside.until(lambda: not offered(), "nothing to save any more")


def test_a_pilot_job_of_each_kind_brings_its_result(inside: Browser) -> None:
    inside.shows("#phase", "working")
    inside.tab("Test")
    inside.press("#pilot")
    inside.until(
        lambda: len(inside.driver.find_elements(By.CSS_SELECTOR, ".pilot-job.done")) == 3,
        "three pilot jobs are done",
    )
    width = inside.driver.execute_script("return document.querySelector('img.pilot').naturalWidth")
    assert width == 256
    for words in (
        "Done by this worker.",
        "reward",
        "Bob's machine scribe: text",
        "Once upon a time",
        "Bob's machine alchemist: interrogation",
        "caption: done",
        "nsfw: done",
    ):
        inside.shows("#pilots", words)
    inside.tab("Earnings")
    inside.press("#ask")
    inside.shows("#statistics", "Worker Bob's machine")
    inside.shows("#statistics", "Account Bob#")


def test_the_key_is_nowhere_in_the_page(place: Place, inside: Browser) -> None:
    inside.tab("Settings")
    # The words of the field come a moment after the field itself.
    inside.find("#setting-api_key input[placeholder='set']")
    field = inside.driver.execute_script(
        "const field = document.querySelector('#setting-api_key input');"
        "return [field.value, field.placeholder]"
    )
    assert field == ["", "set"]
    config = inside.driver.execute_async_script(
        "const done = arguments[0]; fetch('/config').then(a => a.text()).then(done)"
    )
    assert '"components"' in config
    for seen in (inside.driver.page_source, config):
        assert place.key not in seen


@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
def test_every_tab_fits_the_screen_and_no_other_host_is_asked(
    place: Place, size: tuple[int, int]
) -> None:
    with chromium(size) as browser:
        browser.log_in(place)
        for name in TABS:
            browser.tab(name)
            width = browser.driver.execute_script("return document.documentElement.scrollWidth")
            assert width <= size[0], name
        assert browser.hosts() == {urlsplit(place.address).netloc}


def test_a_new_password_ends_the_sessions_of_others(place: Place, browser: Browser) -> None:
    with chromium() as other:
        other.log_in(place)
        browser.log_in(place)
        browser.tab("Settings")
        browser.press("#change-password")
        for field, text in (("password", place.password), ("fresh", "short"), ("again", "short")):
            browser.enter(f"#{field}", text)
        browser.press("button[type=submit]")
        browser.shows(".notice", "must have 10 to 200 characters, not 5")
        for field, text in (("password", place.password), ("fresh", CHOSEN), ("again", CHOSEN)):
            browser.enter(f"#{field}", text)
        browser.press("button[type=submit]")
        browser.shows("#phase", "working")
        place.password = CHOSEN
        other.driver.get(place.address)
        assert urlsplit(other.driver.current_url).path == "/login"
        other.type_password(CHOSEN)
        other.shows("#phase", "working")
        other.tab("Settings")
        other.press("#log-out")
        other.until(lambda: urlsplit(other.driver.current_url).path == "/login", "logged out")
