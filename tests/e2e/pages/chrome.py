"""A real browser, without a screen: Chromium, driven by Selenium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 60


class Chrome:
    """One window with its cookies; `told` is what pages handed to the client that embeds them."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str) -> None:
        self.driver.get(url)

    def embed(self) -> None:
        """Embed the pages from now on, as a client does that hears of logins and completed stages."""
        source = (
            "window.told = null; window.matrixLogin = {onLogin: (answer) => { window.told = answer; }};"
            "window.onAuthDone = () => { window.told = 'done'; };"
        )
        self.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})

    def told(self) -> Any:
        return self.wait_for(lambda: self.run("return window.told"))

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def wait_for(self, found: Any) -> Any:
        """Return what `found` returns as soon as it is true. Pages may change while it looks."""
        wait = WebDriverWait(self.driver, PATIENCE, 0.05, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(lambda _: found())

    def element(self, css: str) -> WebElement:
        """Return the first element that a selector finds, once it's there and shown."""

        def look() -> WebElement | None:
            shown = [each for each in self.driver.find_elements(By.CSS_SELECTOR, css) if each.is_displayed()]
            return shown[0] if shown else None

        element: WebElement = self.wait_for(look)
        return element

    def fill(self, **values: str) -> None:
        """Type into the fields with these names, then press Enter in the last."""
        for name, value in values.items():
            field = self.element(f"[name={name}]")
            field.clear()
            field.send_keys(value)
        field.send_keys("\n")

    def press(self, text: str) -> None:
        """Follow the link, or press the button, with this text in it."""

        self.wait_for(lambda: self.shows(text)).click()

    def shows(self, text: str) -> WebElement | None:
        """Return the link or button with this text in it, if it's there."""
        found = self.driver.find_elements(By.CSS_SELECTOR, "a, button")
        return next((each for each in found if text in each.text and each.is_displayed()), None)

    def text(self) -> str:
        return str(self.run("return document.body.innerText"))

    def complaints(self) -> list[str]:
        """Return the errors that the browser reports: violated policies, scripts that failed."""
        return [
            str(entry["message"])
            for entry in self.driver.get_log("browser")
            if entry["level"] == "SEVERE" and "status of 4" not in entry["message"]
        ]


@contextmanager
def chrome() -> Iterator[Chrome]:
    """Start the browser, and end it. Skip the test if there is no browser."""
    browser, driver = (shutil.which(name) for name in ("chromium", "chromedriver"))
    if browser is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed (Debian: chromium, chromium-driver)")
    options = Options()
    options.binary_location = browser
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "lang=en"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield Chrome(started)
    finally:
        started.quit()
