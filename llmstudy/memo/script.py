"""The only script that a page may run: the one behind the what-if sliders.

A page's security policy names it by its hash, so that no script from a study or a log can run.
"""

import base64
from hashlib import sha256
from pathlib import Path

SCRIPT = Path(__file__).with_name("sliders.js").read_text(encoding="utf-8")

SOURCE = f"'sha256-{base64.b64encode(sha256(SCRIPT.encode()).digest()).decode()}'"
"""As `script-src` names it. Source: W3C, Content Security Policy Level 3, 2.3.1."""
