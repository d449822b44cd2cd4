# SPDX-License-Identifier: AGPL-3.0-or-later
"""The pages of a horde as people see them, in Chromium."""

from collections.abc import Iterator

import pytest
from browsing import DESKTOP, PHONE, Browser, chromium
from processes import RunningServer, data_folder, wait_until
from selenium.webdriver.common.by import By


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with data_folder() as folder, RunningServer(folder) as running:
        wait_until(lambda: running.answers, "the server answers")
        yield running


@pytest.fixture(params=[DESKTOP, PHONE], ids=["desktop", "phone"])
def browser(request: pytest.FixtureRequest) -> Iterator[Browser]:
    with chromium(request.param) as opened:
        yield opened


def test_a_button_stands_below_its_field(server: RunningServer, browser: Browser) -> None:
    browser.driver.get(f"{server.url}/register")
    field, button = browser.find("#username").rect, browser.find("form button").rect
    assert button["y"] > field["y"] + field["height"]


def test_names_of_fields_are_not_broken(server: RunningServer, browser: Browser) -> None:
    browser.driver.get(f"{server.url}/api")
    browser.find("details")
    browser.driver.execute_script(
        "document.querySelectorAll('details').forEach(each => { each.open = true })"
    )
    browser.until(
        lambda: browser.driver.find_elements(By.CSS_SELECTOR, "details .fields code"), "fields"
    )
    lines = browser.driver.execute_script(
        "return [...document.querySelectorAll('.fields td:first-child code')]"
        ".map(name => [name.textContent, name.getClientRects().length])"
    )
    assert len(lines) > 100
    assert {name for name, count in lines if count > 1} == set()
    width = browser.driver.execute_script("return document.documentElement.scrollWidth")
    assert width <= max(PHONE[0], browser.driver.execute_script("return window.innerWidth"))
