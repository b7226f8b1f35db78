"""The screenshots of the tutorial, from what `partcnn demo` writes: the page's sections, and the viewer.

    python docs/draw_report.py runs/demo

Needs chromium (`make browser`). The pictures are the drawn ones: photographs of others are never committed.
"""

import argparse
import io
import shutil
import threading
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from partcnn.app.runs import open_run
from partcnn.reporting.viewer import make_server

IMAGES = Path(__file__).parent / "images"
WINDOW = {"width": 1180, "height": 900}
PHONE = {"width": 380, "height": 800}
SETTLE_MS = 1200  # pictures are drawn as they come near the window


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("demo", type=Path, help="directory that partcnn demo wrote")
    demo = parser.parse_args().demo
    with sync_playwright() as running:
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        draw_page(browser, demo / "report.html")
        draw_viewer(browser, demo)
        browser.close()


def draw_page(browser: Any, file: Path) -> None:
    page = browser.new_page(viewport=WINDOW, reduced_motion="reduce")
    page.goto(file.resolve().as_uri())
    keep(page, "report-overview")
    for section in ("filters", "parts", "pictures"):
        page.evaluate(f"document.getElementById('{section}').scrollIntoView()")
        page.wait_for_timeout(SETTLE_MS)  # what is drawn above moves the section: go there again
        page.evaluate(f"document.getElementById('{section}').scrollIntoView()")
        keep(page, f"report-{section}")
    page.evaluate("document.querySelector('.charts').scrollIntoView({ block: 'center' })")
    keep(page, "report-training")
    page.locator(".card h3 a").first.click()
    keep(page, "report-filter")
    phone = browser.new_page(viewport=PHONE, color_scheme="dark", reduced_motion="reduce")
    phone.goto(file.resolve().as_uri())
    phone.locator(".cards").evaluate("(cards) => cards.scrollIntoView()")
    keep(phone, "report-phone-dark")


def draw_viewer(browser: Any, demo: Path) -> None:
    picture = sorted((demo / "pictures").iterdir())[-1]
    with make_server(open_run(demo / "parts").model, "giraffe") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            page = browser.new_page(viewport=WINDOW, reduced_motion="reduce")
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            page.locator("[name=picture]").set_input_files(str(picture))
            page.locator(".answer .place").first.wait_for()
            page.locator("#result-title").evaluate("(title) => title.scrollIntoView()")
            keep(page, "view")
        finally:
            server.shutdown()
            thread.join()


def keep(page: Any, name: str) -> None:
    """In 256 colours, a quarter of the bytes."""
    page.wait_for_timeout(SETTLE_MS)
    with Image.open(io.BytesIO(page.screenshot())) as shot:
        shot.convert("RGB").quantize(256).save(IMAGES / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
