# SPDX-License-Identifier: AGPL-3.0-or-later
"""A worker with its control panel, and a real browser to look at it."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
import pytest
from processes import Running, RunningServer, wait_until
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

T = TypeVar("T")

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
NO_BROWSER = "no chromium with chromedriver here (on Debian: apt install chromium chromium-driver)"
QUIET_OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
DESKTOP = (1280, 900)
PHONE = (390, 844)
PATIENCE_SECONDS = 60.0
SETTINGS = """\
# Bob's worker, for the tests.
horde_url: {url}
api_key: {key}
worker_name: Bob's machine
backends: [fake]
panel_port: 0
max_power: 16  # up to 724 x 724
idle_seconds: 0.1
idle_seconds_max: 0.3
pop_wait_seconds: 1
"""


class Place:
    """A server, and a worker with a panel whose settings are in a file."""

    def __init__(self, server: RunningServer, folder: Path) -> None:
        self.server = server
        self.key = server.add_user("Bob", kudos=1000)
        self.config = folder / "worker.yaml"
        self.config.write_text(SETTINGS.format(url=server.url, key=self.key))
        self.password = ""
        self.worker = Running(
            folder / "worker.log", "worker", "panel", "--config", str(self.config)
        )

    @property
    def address(self) -> str:
        found = re.search(r"Control panel: (\S+)", self.worker.wait_for_word("Control panel: "))
        assert found
        return found[1]

    def made_up(self) -> str:
        """The password that the worker wrote to its console."""
        said = self.worker.wait_for_word("Password of the control panel: ")
        found = re.search(r"Password of the control panel: (\S+)", said)
        assert found
        return found[1]

    def seen_by_the_horde(self) -> dict[str, Any]:
        """The worker as the horde shows it; empty before they have met."""
        answer = httpx.get(
            f"{self.server.url}/api/v2/workers/name/Bob's machine", headers={"apikey": self.key}
        )
        return dict(answer.json()) if answer.status_code == 200 else {}


class Browser:
    """Chromium, with what one does in it. It waits for everything it looks for."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver
        self.address = ""

    def open(self, place: Place) -> None:
        """The login page."""
        self.address = place.address
        self.driver.delete_all_cookies()
        self.driver.get(self.address)

    def log_in(self, place: Place) -> None:
        """From nothing to the page, as it is once its script runs."""
        self.open(place)
        self.type_password(place.password)
        self.until(lambda: self.text("#phase"), "the page shows the worker")
        self.until(
            lambda: self.driver.find_elements(By.CSS_SELECTOR, "body.filled"), "the form is filled"
        )

    def type_password(self, password: str) -> None:
        self.find("input[type=password]").send_keys(password + Keys.ENTER)

    def find(self, css: str) -> WebElement:
        """The first that is seen."""

        def seen() -> WebElement | None:
            for element in self.driver.find_elements(By.CSS_SELECTOR, css):
                if element.is_displayed():
                    return element
            return None

        return self.until(seen, f"{css} is seen")

    def until(self, happened: Callable[[], T | None], what: str) -> T:
        """What is there once it is. The page may be drawn anew while it is looked at."""

        def look() -> T | None:
            try:
                return happened()
            except WebDriverException:
                return None

        found = wait_until(look, what, PATIENCE_SECONDS)
        assert found is not None
        return found

    def text(self, css: str) -> str:
        return str(self.driver.find_element(By.CSS_SELECTOR, css).text)

    def shows(self, css: str, words: str) -> None:
        """Wait until the words are there."""
        self.until(lambda: words in self.text(css), f"{words!r} in {css}")

    def press(self, css: str) -> None:
        element = self.find(css)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def tab(self, name: str) -> None:
        """Open a tab; on a narrow screen it may be behind the button for more."""
        tabs = f"//button[@role='tab' and normalize-space()='{name}']"

        def choose() -> bool:
            for button in self.driver.find_elements(By.XPATH, tabs):
                if button.is_displayed():
                    button.click()
                    return True
            for more in self.driver.find_elements(By.CSS_SELECTOR, ".overflow-menu > button"):
                if more.is_displayed():
                    more.click()
            for item in self.driver.find_elements(By.CSS_SELECTOR, ".overflow-dropdown button"):
                if item.text.strip() == name:
                    item.click()
                    return True
            return False

        self.until(choose, f"the tab {name}")

    def group(self, title: str) -> None:
        """Open a group of settings, if it is closed."""
        label = f"//button[contains(@class, 'label-wrap') and normalize-space(span)='{title}']"

        def opened() -> bool:
            button = self.driver.find_element(By.XPATH, label)
            self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
            if "open" not in str(button.get_attribute("class")).split():
                button.click()
                return False
            return True

        self.until(opened, f"the group {title}")

    def enter(self, css: str, text: str) -> None:
        """Put a text in the place of what is in a field."""
        field = self.find(css)
        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", field)
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text)
        field.send_keys(Keys.TAB)

    def resize(self, size: tuple[int, int]) -> None:
        """Make the page so wide and high, in CSS pixels, as a phone or a desktop has it."""
        width, height = size
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )

    def requests(self) -> list[str]:
        """The addresses asked for since the last call of this."""
        sent = [
            json.loads(entry["message"])["message"]
            for entry in self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        ]
        return [
            message["params"]["request"]["url"]
            for message in sent
            if message["method"] == "Network.requestWillBeSent"
        ]

    def hosts(self) -> set[str]:
        """Where the requests since the last call went."""
        parts = map(urlsplit, self.requests())
        # Not what is in the page itself (data:), nor the browser's own empty tab (chrome:).
        return {one.netloc for one in parts if one.scheme not in ("data", "blob", "chrome")}


@contextmanager
def chromium(size: tuple[int, int] = DESKTOP) -> Iterator[Browser]:
    """A new browser that knows nothing yet."""
    binary = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    driver_path = shutil.which("chromedriver")
    if binary is None or driver_path is None:
        pytest.skip(NO_BROWSER)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = binary
        for option in (*QUIET_OPTIONS, f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        driver = webdriver.Chrome(
            options=options, service=webdriver.ChromeService(executable_path=driver_path)
        )
        try:
            browser = Browser(driver)
            browser.resize(size)
            yield browser
        finally:
            driver.quit()
