# SPDX-License-Identifier: AGPL-3.0-or-later
"""The scripts of the pages run in a browser, below a path too, and no others do."""

import pytest
from acceptance.test_where_it_stands import standing_behind
from browsing import chromium
from selenium.webdriver.common.by import By


@pytest.mark.parametrize("strips", [True, False])
def test_the_pages_work_in_a_browser(strips: bool) -> None:
    with standing_behind(strips=strips, tells=False) as (proxy, _), chromium() as browser:
        browser.driver.get(f"{proxy.url}/api")
        operations = browser.until(
            lambda: browser.driver.find_elements(By.CSS_SELECTOR, "#operations details"),
            "the page about the API lists operations",
        )
        assert len(operations) > 20
        browser.driver.get(f"{proxy.url}/register")
        browser.find("#username").send_keys("Ann<script>")
        browser.press("button")
        browser.until(lambda: browser.text("#key"), "the key is shown")
        browser.press("#copy")
        browser.until(lambda: browser.text("#copy") != "Copy", "the button answers")
        assert browser.driver.current_url == f"{proxy.url}/register"
        script = "document.head.appendChild(Object.assign(document.createElement('script'),"
        browser.driver.execute_script(f"{script} {{textContent: 'window.ran = 1'}}))")
        assert browser.driver.execute_script("return window.ran") is None
        browser.driver.get(f"{proxy.url}/nowhere")
        browser.shows("h1", "no such page")
        browser.press("main a")
        browser.until(lambda: browser.driver.current_url == f"{proxy.url}/", "the front page")
