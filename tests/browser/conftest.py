"""A real Chromium; without Playwright or a browser, these tests are skipped.

`make test-browser` makes an environment that has both and runs them.
"""

import os
import shutil
from pathlib import Path

import pytest

from llmstudy import paths

BROWSERS = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")

# No look-ups of its own, so that every request in a test is the page's; as root it has no sandbox.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def chromium():
    """A running headless Chromium: a Playwright `Browser`."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="needs Playwright: run `make test-browser`"
    )
    installed = next(filter(None, map(shutil.which, filter(None, BROWSERS))), None)
    with playwright.sync_playwright() as started:
        try:
            browser = started.chromium.launch(executable_path=installed, args=FLAGS)
        except playwright.Error as error:
            pytest.skip(f"no Chromium could be started; name one in CHROMIUM: {error}")
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """Where pictures are kept to be looked at. Git ignores it."""
    folder = paths.ROOT / "outputs" / "browser"
    folder.mkdir(parents=True, exist_ok=True)
    return folder
