"""What is a machine's name called in front of a reader? Headings of columns, and names in cells.

Results and the files of tables keep the names of the code; only what is shown is put in words, and
all of these words stand here.
"""

import re
from collections.abc import Mapping
from functools import cache

HEADINGS: Mapping[str, str] = {
    "requests_per_month": "requests a month",
    "tokens_per_month": "tokens a month",
    "volume_grade": "grade of volume",
    "tokens_grade": "grade of tokens",
    "traffic": "requests are",
    "current": "today's route",
    "usd_per_request": "USD per request",
    "usd_per_mtok": "USD per Mtok",
    "month_usd": "USD a month",
    "scheduled_change": "scheduled change of price",
    "per_minute": "let through a minute",
    "busiest_p50": "asked in the busiest minute today",
    "p_reached_today": "chance that it is reached today",
    "from_month_p10": "reached from month (one draw in ten)",
    "from_month_p50": "reached from month (median)",
    "beside": "also on the route",
    "usd_per_gpu_hour": "USD per GPU-hour",
    "decided_by": "moved most by",
    "to": "goes as far as",
    "share_of_bill": "share of the bill",
    "ratio": "tokens against today's",
    "first_answer_s": "first token of the answer, s",
    "e2e_s": "whole answer, s",
    "pace_s": "TPOT, s",
    "pace_source": "TPOT is of",
    "ttft_to_bench": "TTFT against the published bench",
    "tpot_to_bench": "TPOT against the published bench",
    "best_roofline_share": "best share of the roofline",
    "n": "items",
    "n_needed": "items needed",
    "pass_mark": "which pass from a difference of",
    "difference": "difference in quality",
    "pair": "against the candidate",
    "acceptance": "answers accepted",
    "n_fit": "points fitted",
    "n_heldout": "points held out",
    "median_abs_error_share": "median error",
    "rent_month_usd": "rent, USD a month",
    "upkeep_month_usd": "upkeep, USD a month",
    "staff_month_usd": "team, USD a month",
    "utilisation": "mean utilisation",
    "sustained_utilisation": "fullest peak hour",
    "outside": "beyond what was measured",
    "kind": "fleet",
    "replicas_min": "fewest replicas",
    "replicas_max": "most replicas",
    "gpu_hours_week": "GPU-hours a week",
    "e2e_p95_s": "whole answer p95, s",
    "slo_attainment_share": "SLO attained",
    "p_cheaper": "chance of being cheaper",
    "p_cheaper_team_there": "chance, were the team there anyhow",
    "p_cheaper_named": "chance against the named model",
    "p_cheaper_same_quality": "chance against equal quality",
    "saving_named_usd": "saving against the named model, USD",
    "saving_same_quality_usd": "saving against equal quality, USD",
    "pays_from_month_p50": "pays from month (median)",
    "shapley_usd": "share of the difference, USD a month",
    "break_even_factor": "factor on the break-even volume",
    "memo_cheaper": "cheaper, the memo says",
    "our_cheaper": "cheaper, we say",
    "moves_usd": "moves the saving by, USD",
    "favours": "it favours",
    "study_favours": "this study favours",
    "fails": "what does not hold",
    "open": "what cannot be told yet",
    "live": "what is seen",
    "self_hosted": "self-hosting",
    "agrees": "agrees with us",
    "on": "as of",
    "unit_note": "how it was converted",
    "value_usd": "worth, USD",
    "cost_usd": "cost, USD",
    "mean_cost_usd": "mean cost, USD",
    "saving_vs_now_usd": "saving against committing now, USD",
    "p_never": "never moves",
    "buyer": "who stays",
    "regret_usd": "mean regret, USD",
    "regret_low_usd": "regret, low, USD",
    "regret_high_usd": "regret, high, USD",
    "false_alarm_share": "false alarms",
    "missed_share": "missed",
    "switch_share": "switches",
    "delay_months": "months late",
    "would_move": "would move today",
    "failed_share": "failed",
    "spend_share": "share of spend",
    "requests_share": "share of logged requests",
    "largest_factor": "largest change, after over before",
    "smallest_factor": "smallest change, after over before",
    "last_change": "latest listed change",
    "within_a_week": "within a week",
    "score_low": "score, low",
    "score_high": "score, high",
    "fte_low": "least FTE",
    "fte_high": "most FTE",
    "low_days": "least working days",
    "mid_days": "middle working days",
    "high_days": "most working days",
    "placed": "ours against the claim",
    "mean_share": "mean share of TTFT",
    "v3": "by the source memo",
    "written": "rule as written",
    "decides": "decides today",
    "switch_month_p50": "switches in month (median)",
    "regret_se_usd": "standard error of regret, USD",
    "days_so_far": "days in all",
    "risk_count": "risks, how many",
    "judged": "pairs of advisors that can judge",
    "agree": "pairs that agree",
    "agree_share": "agreement",
    "entry_state": "may begin",
    "exit_state": "is done",
}
"""Columns whose name says too little or in the wrong order; the others follow from `heading`."""

_SPELT = {
    **{"usd": "USD", "mtok": "Mtok", "gpu": "GPU", "gpus": "GPUs", "api": "API", "slo": "SLO"},
    **{"ttft": "TTFT", "tpot": "TPOT"},
}
_UNITS = ("usd", "s", "ms")

_ARMS = {
    "proprietary_api": "proprietary API",
    "hosted_open": "hosted open weights",
    "self_hosted": "self-hosting",
}
_CHEAPER = {"api": "the API", "self_hosted": "self-hosting"}

NAMES: Mapping[str, Mapping[str, str]] = {
    "arm": _ARMS,
    "path": _ARMS,
    "favours": _ARMS,
    "study_favours": _ARMS,
    "memo_cheaper": _CHEAPER,
    "our_cheaper": _CHEAPER,
    "buyer": {
        "named_model": "keeps the named model",
        "same_quality": "goes on to cheaper models of equal quality",
    },
    "rule": {
        "architect": "spend, p95, compliance, quality",
        "analyst_frontier_low": "tokens at frontier prices, low",
        "analyst_frontier_high": "tokens at frontier prices, high",
        "analyst_mini": "tokens at mini prices",
        "analyst_ten_billion": "tokens forecast for next year",
        "challenger_low": "queries after a short window",
        "challenger_high": "queries after a long window",
        "challenger_alert": "yearly cost (an alert only)",
        "strategist": "break-even, p95, residency",
        "triggers": "any of G1 to G6",
        "improved": "threshold from the back-test",
        "always_now": "move now",
        "never": "never move",
    },
    "item": {
        "gpu_price": "GPU price",
        "api_bill": "API bill",
        "price_drift": "price drift",
        "other": "other upkeep",
        "idle": "idle hours",
    },
    "changes": {
        "requests_per_s_per_gpu": "requests/s per GPU",
        "peak_to_mean": "peak hour against mean",
        "target_utilisation": "fullness of the peak hour",
        "gpus_per_replica": "GPUs per replica",
        "spare": "spare replicas",
        "follows_volume 0 to 1": "a fixed fleet to one that follows the volume",
        "usd_per_gpu_hour": "USD per GPU-hour",
        "overhead_share": "overheads as a share of rent",
        "staff_month_usd": "team, USD a month",
        "other_month_usd": "other upkeep, USD a month",
        "api_usd_per_request": "API, USD per request",
        "api_other_month_usd": "API beside its requests, USD a month",
        "api_price_factor": "mean API price against today's",
        "gpu_price_factor": "mean GPU price against today's",
        "accepted_ratio": "accepted answers against the API's",
    },
    "field": {
        **{"data_class": "class of data", "input_tokens": "input tokens"},
        **{"output_tokens": "output tokens", "ttft_p95": "TTFT p95"},
        **{"peak_to_mean": "peak hour against mean", "context_tokens": "context"},
        **{"gpu_platform": "Kubernetes or GPUs"},
    },
    "verdict": {"none": "not scored"},
    "quality": {"none": "not scored", "baseline": "today's own"},
    "outside": {
        "input_tokens": "prompt length",
        "output_tokens": "answer length",
    },
}
"""By column: the names of the code that its cells hold, in words."""


def heading(column: str) -> str:
    """A column's name as the heading of a table, its unit behind it.

    What is no name of the code, but words already, stays as it is.

    >>> heading("usd_per_mtok"), heading("low_usd"), heading("ttft_p95_s"), heading("80 % range")
    ('USD per Mtok', 'low, USD', 'TTFT p95, s', '80 % range')
    """
    if column in HEADINGS:
        return HEADINGS[column]
    if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", column):
        return column.replace("_", " ")
    *first, last = (_SPELT.get(word, word) for word in column.split("_"))
    if first and column.split("_")[-1] in _UNITS:
        return f"{' '.join(first)}, {last}"
    return " ".join([*first, last])


def named(column: str, text: str) -> str:
    """A cell's text with the names of the code in it put in words.

    >>> named("rule", "always_now"), named("changes", "spare 0 to 1"), named("route", "spare")
    ('move now', 'spare replicas 0 to 1', 'spare')
    """
    names = NAMES.get(column)
    return _pattern(column).sub(lambda found: names[found[0]], text) if names else text


@cache
def _pattern(column: str) -> re.Pattern[str]:
    longest_first = sorted(NAMES[column], key=len, reverse=True)
    return re.compile(rf"\b({'|'.join(map(re.escape, longest_first))})\b")
