"""However a run ends, its children end with it, and the next run clears what it left."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from llmstudy import paths
from llmstudy.run import latest_run, leftovers

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")


def until(truth, seconds=60):
    """Waits until something is so. Returns whether it came to be."""
    end = time.monotonic() + seconds
    while not truth():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def living(group):
    """The processes of a group that have not ended, whether or not their end was waited for."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                found.append((process.pid, process.status(), process.cmdline()))
    return found


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_run_that_is_ended_takes_its_children_along(tmp_path, ending):
    scratch, out = tmp_path / "t", tmp_path / "out"
    scratch.mkdir()
    command = [sys.executable, "-m", "llmstudy", "run", str(paths.params("default.yaml"))]
    run = subprocess.Popen(
        [*command, "--out", str(out)],
        env={**os.environ, "TMPDIR": str(scratch)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    temporary = scratch if len(str(scratch)) <= leftovers.SOCKET_BYTES else None
    assert until(lambda: list(out.glob("default/.*.partial/notebooks")))
    if temporary:
        assert until(lambda: list(temporary.glob("llmstudy-*/kernel.json")))
    run.send_signal(ending)
    assert run.wait(60) in (-ending, 128 + ending)
    assert until(lambda: not living(run.pid)), living(run.pid)
    leftovers.clear(out / "default", ".*.partial")
    leftovers.clear(scratch, "llmstudy-*")
    assert not list(out.glob("default/.*"))
    assert not list(scratch.glob("llmstudy-*"))


def test_what_lives_is_not_cleared_away(tmp_path):
    alive = tmp_path / "llmstudy-alive"
    alive.mkdir()
    with leftovers.locked(alive):
        leftovers.clear(tmp_path, "llmstudy-*")
        assert alive.is_dir()
    assert not list(alive.iterdir())


def test_a_long_temporary_folder_is_too_long_for_sockets(tmp_path, monkeypatch):
    long = tmp_path / ("x" * 120)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    monkeypatch.setattr("tempfile.tempdir", None)
    leftovers.short_temporary_folder()
    assert os.environ["TMPDIR"] == "/tmp"


def test_an_empty_folder_named_like_a_newer_run_hides_no_good_one(tmp_path):
    good, empty = (tmp_path / "default" / f"2026112{n}T000000Z-abcdef" for n in (1, 2))
    good.mkdir(parents=True)
    empty.mkdir()
    (good / "provenance.json").write_text("{}")
    assert latest_run("default", tmp_path) == good
