"""What question is being decided, on which assumptions: the study file.

A study is one YAML file. Every assumption in it is a value with its unit, range, source, date and
grade, or names a bundled figure. Anything unclear is refused with the file, the line and the way
to mend it: an unknown key, a missing unit, a value outside its range, an unanswered question.

`figures` reads one assumption; `schema` has the blocks of a study, `study` the whole of it and the
rules between them; `faults` turns what is wrong into a sentence; `loading` reads a file. What the
log or a price list adds to a study is in `evidence`.
"""

from llmstudy.study.faults import StudyError
from llmstudy.study.figures import bundled_figures, quantity
from llmstudy.study.loading import load
from llmstudy.study.log import Log, LogFormat, LogMapping
from llmstudy.study.schema import (
    ApiRoute,
    ArmName,
    Commitment,
    Contract,
    DataClass,
    Intake,
    Invoice,
    Moving,
    OwnedGpus,
    PairedEvidence,
    Portability,
    PriceDrift,
    Quality,
    RateLimit,
    Route,
    SelfHostedRoute,
    SelfHosting,
    Slo,
    Team,
    Thresholds,
    TokenRates,
    Traffic,
    Workload,
)
from llmstudy.study.study import Override, Study

__all__ = [
    "ApiRoute",
    "ArmName",
    "Commitment",
    "Contract",
    "DataClass",
    "Intake",
    "Invoice",
    "Log",
    "LogFormat",
    "LogMapping",
    "Moving",
    "Override",
    "OwnedGpus",
    "PairedEvidence",
    "Portability",
    "PriceDrift",
    "Quality",
    "RateLimit",
    "Route",
    "SelfHostedRoute",
    "SelfHosting",
    "Slo",
    "Study",
    "StudyError",
    "Team",
    "Thresholds",
    "TokenRates",
    "Traffic",
    "Workload",
    "bundled_figures",
    "load",
    "quantity",
]
