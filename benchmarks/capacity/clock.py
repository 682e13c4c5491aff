"""What does a call cost?"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np


def cpu_s(call: Callable[[], Any], repeats: int) -> float:
    """Processor seconds of a call in this process, the median of several."""
    took = []
    for _ in range(repeats):
        began = time.process_time()
        call()
        took.append(time.process_time() - began)
    return float(np.median(took))
