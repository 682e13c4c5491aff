"""An analyst in JupyterLab: opens the panel, runs it, moves a slider, sees the verdict change."""

import re
import shutil
import socket
import subprocess
import sys
import time
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from llmstudy import paths

pytest.importorskip("jupyterlab", reason="needs JupyterLab: run `make test-browser`")

START_S, SIZING_MS, REDRAW_MS = 60, 300_000, 15_000


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """Address of a JupyterLab of our own, which shows a copy of the notebook and nothing else."""
    folder = tmp_path_factory.mktemp("lab")
    shutil.copy(paths.notebooks() / "explore.ipynb", folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = ["--no-browser", "--allow-root", f"--port={port}", f"--ServerApp.root_dir={folder}"]
    settings += ["--IdentityProvider.token=", "--ServerApp.ip=127.0.0.1"]
    # it would ask for news and for extensions from elsewhere
    settings += ["--LabApp.news_url=null", "--LabApp.extension_manager=readonly"]
    log = (tmp_path_factory.mktemp("log") / "server.log").open("w")
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *settings], stdout=log, stderr=log
    )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{address}/api", server)
        yield address
    finally:
        server.terminate()
        server.wait(timeout=30)
        log.close()


def _wait_for(address, server):
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert server.poll() is None, "JupyterLab ended: see server.log"
        try:
            urlopen(address, timeout=2).close()
            return
        except URLError:
            time.sleep(0.3)
    raise TimeoutError(f"JupyterLab did not answer within {START_S} s")


def test_a_slider_moved_in_jupyterlab_changes_the_verdict(lab, chromium, screenshots):
    page = chromium.new_page(viewport={"width": 1500, "height": 2700})
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.goto(f"{lab}/lab/tree/explore.ipynb?reset")
    page.locator(".jp-Notebook").wait_for(timeout=60_000)
    page.get_by_text("Python 3").first.wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("Run All Cells$")).click()

    status = page.locator(".jp-OutputArea [role=status]", has_text="Staying costs")
    status.wait_for(timeout=SIZING_MS)
    at_base = status.inner_text()
    assert "No verdict changes" in at_base

    volume = page.locator(".widget-hslider", has_text="Volume").locator(".noUi-handle")
    volume.focus()
    page.keyboard.press("Home")
    changed = page.locator("[role=status]", has_text="Changed:")
    changed.wait_for(timeout=REDRAW_MS)
    assert "below the base" in changed.inner_text()
    charts = page.locator(".jp-OutputArea svg[role=img]")
    assert charts.count() == 3
    page.locator(".widget-hslider").first.scroll_into_view_if_needed()
    page.screenshot(path=screenshots / "explore.png")
    page.locator(".jp-OutputArea-child", has=page.locator("svg[role=img]")).screenshot(
        path=screenshots / "panel.png"
    )

    page.get_by_role("button", name="Reset to the base case").click()
    page.locator("[role=status]", has_text="No verdict changes").wait_for(timeout=REDRAW_MS)
    assert status.inner_text() == at_base
    assert faults == []
    page.close()
