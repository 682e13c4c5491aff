"""What does each route charge, how soon does it answer, and how well? Chapters 02 to 05 in one."""

from typing import Any

import pandas as pd

from llmstudy import canonical
from llmstudy.assess.case import Case
from llmstudy.assess.cost import cost_tables
from llmstudy.assess.hosting import hosting_tables
from llmstudy.assess.latency import latency_tables
from llmstudy.assess.quality import quality_tables


def measured(case: Case, fits: pd.DataFrame | None = None) -> dict[str, dict[str, Any]]:
    """The results of those chapters, by name, as they write them.

    fits: `capacity.serving_fits` of the study's seed, where the caller has them already.
    Raises: ValueError if the study's evidence cannot be used.
    """
    hosting = canonical.plain(hosting_tables(case, fits))
    return {
        "02_cost": canonical.plain(cost_tables(case)),
        "03_latency": canonical.plain(latency_tables(case, hosting)),
        "04_quality": canonical.plain(quality_tables(case)),
        "05_self_hosting": hosting,
    }
