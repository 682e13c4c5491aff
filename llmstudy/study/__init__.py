"""The study file: the question to decide, and the assumptions that the answer rests on.

A study is one YAML file. Every assumption in it is a value with its unit, range, source, date and
grade, or names a bundled figure. An unknown key, a missing unit, a value outside its range or an
unanswered question is an error that names the file, the line and how to correct it.

`figures` reads one assumption; `schema` has the blocks of a study, `study` the whole study and the
rules between blocks; `faults` turns an error of validation into a sentence; `loading` reads a file,
`snapshot` saves a study as JSON. What the log or a price list adds to a study is in `evidence`.
"""

from llmstudy.study.faults import StudyError
from llmstudy.study.figures import bundled_figures, quantity
from llmstudy.study.loading import load
from llmstudy.study.log import Log
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
