"""Files that are dragged from the desktop onto a page, as Chromium itself delivers them."""

from collections.abc import Iterable
from pathlib import Path

from playwright.sync_api import Page


def drop(page: Page, files: Iterable[Path]) -> None:
    """Drop the files in the middle of the page."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(path) for path in files], "dragOperationsMask": 1}
    for step in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": step, "x": 400, "y": 300, "data": data})
    session.detach()
