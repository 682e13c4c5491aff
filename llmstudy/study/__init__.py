"""What question is being decided, on which assumptions: the study file.

A study is one YAML file. Every assumption in it is a value with its unit, range, source, date and
grade, or names a bundled figure. Anything unclear is refused with the file, the line and the way
to mend it: an unknown key, a missing unit, a value outside its range, an unanswered question.

`quantities` reads one assumption; `schema` says which keys a study has and how they must agree;
`loading` reads a file and turns each fault into a sentence. What the log or a price list adds to a
study is in `evidence`.
"""

from llmstudy.study.figures import bundled_figures, quantity
from llmstudy.study.loading import StudyError, load
from llmstudy.study.schema import (
    ApiRoute,
    ArmName,
    Commitment,
    Contract,
    DataClass,
    Intake,
    Invoice,
    Log,
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
    Study,
    Team,
    Thresholds,
    TokenRates,
    Traffic,
    Workload,
)

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
