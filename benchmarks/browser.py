"""The browser that the explorer is tested and timed in: Debian's Chromium, or the one that $SAE_BROWSER names.

    python -m benchmarks.browser

Prints its path; exits with 1 where there is none and says how to get one.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
HOW_TO_GET_ONE = "no browser found: run `make browser` (as root: apt-get install chromium), or set SAE_BROWSER to one"


def find_browser() -> str | None:
    """The path of the browser's program; None where there is none."""
    named = os.environ.get("SAE_BROWSER")
    return named or next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def open_browser(path: str) -> Iterator[Browser]:
    """The browser without a window, until the block ends."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()


if __name__ == "__main__":
    found = find_browser()
    if found is None:
        sys.exit(HOW_TO_GET_ONE)
    print(found)
