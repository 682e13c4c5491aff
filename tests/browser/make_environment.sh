#!/bin/sh
# Makes the environment of the opt-in tests in tests/browser: JupyterLab and Playwright.
#
#   sh tests/browser/make_environment.sh [FOLDER]      FOLDER: .venv-browser unless given
#
# About 2 minutes, 1.2 GB on disk; nothing to do when it is there already and the locks are older.
# An environment of its own, since JupyterLab slows every start of a notebook's kernel, and since
# Playwright is a test's tool only. The packages are those of the two locks.
# The browser is an installed Chromium or Chrome: the one that CHROMIUM names, else the first on the
# PATH. Where there is none, Playwright is asked to fetch its own.
set -eu

playwright=1.65.2
axe=0.1.8 # carries axe-core, the accessibility checker, so that no test fetches it
folder=${1:-.venv-browser}
python=${PYTHON:-python3}
done="$folder/.made-for-playwright-$playwright"

browser() {
  for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome; do
    test -n "$name" && command -v "$name" && return
  done
  return 1
}

if ! test -e "$done" || test requirements.lock -nt "$done" || test requirements-lab.lock -nt "$done"; then
  test -x "$folder/bin/python" || "$python" -m venv "$folder"
  test -x "$folder/bin/uv" || "$folder/bin/python" -m pip install --quiet --disable-pip-version-check uv
  install() { "$folder/bin/uv" pip install --quiet --python "$folder/bin/python" "$@"; }
  install --require-hashes -r requirements.lock
  install --require-hashes -r requirements-lab.lock
  install "playwright==$playwright" "axe-playwright-python==$axe"
  install --no-deps -e .
  touch "$done"
fi

browser > /dev/null || "$folder/bin/python" -m playwright install chromium || {
  echo "no Chromium found, and Playwright could not fetch its own: install one (Debian, Ubuntu:" >&2
  echo "apt-get install chromium) or name it: CHROMIUM=/path/to/chromium" >&2
  exit 1
}
