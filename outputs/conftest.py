"""How nbval compares the executed notebooks beside this file: text exactly, numbers but for what
processors differ in."""

import re

import numpy as np
from nbval.plugin import IPyNbCell

FLOAT_SHARE = 1e-6
DRAWING_PX = 0.01

NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[-+]?\d+)?")


def agree(kept, fresh, kind):
    """Whether two outputs of a MIME type are the same words with the same numbers."""
    if kind == "image/svg+xml":
        kept, fresh = with_ids_by_order(kept), with_ids_by_order(fresh)
    if NUMBER.split(kept) != NUMBER.split(fresh):
        return False
    x, y = (np.array(NUMBER.findall(text), dtype=float) for text in (kept, fresh))
    return bool(
        np.allclose(y, x, rtol=0, atol=DRAWING_PX)
        if kind == "image/svg+xml"
        else np.allclose(y, x, rtol=FLOAT_SHARE, atol=0)
    )


def with_ids_by_order(drawing):
    """A drawing whose ids, some of which are hashes of coordinates, are named by their order."""
    names = dict.fromkeys(re.findall(r'\bid="([^"]+)"', drawing))
    order = {name: chr(0x4E00 + i) for i, name in enumerate(names)}  # no digit, nor in any name
    return re.sub(r'(\bid="|#)([\w.-]+)', lambda m: m[1] + order.get(m[2], m[2]), drawing)


def compare_outputs(cell, fresh, kept, skip_compare=None):
    """As nbval does, with every output that agrees put in place of the fresh one."""
    for one, other in zip(fresh, kept, strict=False):
        for kind, text in other.get("data", {}).items():
            mine = one.get("data", {}).get(kind)
            if isinstance(mine, str) and isinstance(text, str) and agree(text, mine, kind):
                one["data"][kind] = text
    return exactly(cell, fresh, kept, skip_compare)


exactly = IPyNbCell.compare_outputs
IPyNbCell.compare_outputs = compare_outputs
