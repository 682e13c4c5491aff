"""What does a notebook need besides prose? A place for its results, and ways to show them.

A chapter computes nothing. What it shows is the same text whenever the results are the same, so
that `nbval` can compare it; text from a study or a log is escaped before it is shown.
"""

import html
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
from IPython.display import display
from markupsafe import Markup

from llmstudy import canonical, charts, paths
from llmstudy.study import Study, load
from llmstudy.study.kept import kept
from llmstudy.text import share
from llmstudy.words import heading, named

SHOWN = {
    "workloads": (
        "workload requests_per_month volume_grade input_tokens output_tokens tokens_grade traffic"
    ),
    "log": "rows_read rows_accepted rows_quarantined rows_lost",
    "findings": "severity sentence effective",
    "figures": "name value low high unit grade source as_of",
    "bills": "workload route current usd_per_request usd_per_mtok month_usd scheduled_change%",
    "output_tokens": "workload route model output_tokens ratio low high grade source",
    "rate_limits": (
        "workload route counted per_minute busiest_p50 p_reached_today% "
        "from_month_p10 from_month_p50 beside"
    ),
    "owned": "route part usd_per_gpu_hour low_usd high_usd grade decided_by source",
    "latency": "workload route target_s ttft_p95_s low_s high_s verdict grade source",
    "answers": (
        "workload route output_tokens first_answer_s e2e_s low_s high_s pace_s pace_source grade"
    ),
    "probes": (
        "route model endpoint_model runs requests load failed_share% "
        "ttft_p50_s ttft_p95_s tpot_p50_s tpot_p95_s audit last"
    ),
    "tpot": "workload route target_s tpot_p95_s low_s high_s verdict grade",
    "ttft_parts": "route part median_ms mean_share% n",
    "own_runs": (
        "recorded model precision gpu gpus engine_version points weights "
        "best_roofline_share% tpot_to_bench ttft_to_bench"
    ),
    "own_points": (
        "model gpu precision input_tokens output_tokens concurrency ttft_ms tpot_ms weights"
    ),
    "quality": (
        "workload route verdict benchmark closeness grade n difference% low% high% margin% "
        "n_needed pass_mark%"
    ),
    "serving_fit": "model gpu precision engine_version n_fit n_heldout median_abs_error_share%",
    "fleets": (
        "workload route replicas gpus sustained_utilisation% utilisation% rent_month_usd "
        "upkeep_month_usd staff_month_usd outside"
    ),
    "savings": (
        "workload route saving_p10_usd saving_p50_usd saving_p90_usd p_cheaper% "
        "p_cheaper_team_there% pays_from_month_p50"
    ),
    "by_buyer": (
        "workload route p_cheaper_named% p_cheaper_same_quality% "
        "saving_named_usd saving_same_quality_usd"
    ),
    "t1": (
        "tokens_per_month memo_api_usd reproduced_api_usd mix_api_usd memo_hosting_low_usd "
        "memo_hosting_high_usd our_hosting_low_usd our_hosting_high_usd memo_cheaper our_cheaper"
    ),
    "t1_explanations": "says low_usd high_usd tokens_per_month",
    "t2": "claim unit claim_low claim_high ours_low ours_high agrees on why",
    "claims": "workload who claim low high unit_note",
    "attribution": "workload route item changes shapley_usd break_even_factor",
    "worth": "workload measurement value_usd low_usd high_usd cost_usd verdict",
    "regret": (
        "buyer rule advisor regret_usd regret_low_usd regret_high_usd "
        "false_alarm_share% missed_share% delay_months switch_share%"
    ),
    "lens": "rule advisor would_move because",
    "reversal": "months unused_p10_usd unused_p50_usd unused_p90_usd back_usd usd",
    "log_backtest": "rule advisor week weeks not_judged",
    "waiting": "buyer policy mean_cost_usd low_usd high_usd saving_vs_now_usd p_never%",
    "fleet_sizing": (
        "workload route kind replicas_min replicas_max gpu_hours_week ttft_p95_s e2e_p95_s "
        "slo_attainment_share% utilisation%"
    ),
    "routes": "workload route permitted fits_context latency quality p_cheaper%",
    "accepted": (
        "workload pair route current benchmark usd_per_request acceptance% usd_per_accepted_answer"
    ),
    "accepted_ranges": (
        "workload route benchmark today_p10_usd today_p50_usd today_p90_usd "
        "route_p10_usd route_p50_usd route_p90_usd p_cheaper%"
    ),
    "dates": "workload route gateway_weeks items label_weeks begins canary_days",
    "criteria": "id criterion workload arm route score grade verdict",
    "portability": (
        "workload route vendor score_low score_high pinned retires spend_share% "
        "other_vendors verdict"
    ),
    "switching": "workload route low_days mid_days high_days within_a_week work",
    "vendors": (
        "vendor workloads spend_share% requests_share% listed_changes largest_factor "
        "smallest_factor last_change"
    ),
    "team_roles": "role fte_low fte_high does",
    "criteria_claims": (
        "criterion arm who claim unit claim_low claim_high ours_low ours_high placed ours grade"
    ),
    "five_questions": "id question answer evidence grade",
    "tradeoffs": "title arm memo value low high unit said agrees grade",
    "challenger_lens": "title proprietary_api self_hosted favours study_favours agrees",
    "intake": "workload question field answer grade moves_usd rank",
    "risks": "id path risk likelihood impact advisors state live",
    "risk_mitigation": "id risk mitigation source_ids",
    "risk_indicators": "asks value unit operator warning threshold state grade evidence",
    "alternatives": "id alternative verdict fails open",
    "alternative_conditions": "alternative condition value operator threshold unit holds grade",
    "best_models": (
        "workload arm verdict model provider served benchmark setting score% score_today%"
    ),
    "open_models": "named_then successor provider priced_as compared note",
    "phases": "phase title scope start end owner cost_usd note entry_state exit_state",
    "plan_gates": "phase at workload gate rests_on due state evidence",
    "plan_items": "phase item scope owner start end cost_usd cost_low_usd cost_high_usd note",
    "first_moves": (
        "rank workload v3 because target saving_p50_usd p_cheaper% risk_count risks decision"
    ),
    "canary": "workload route step traffic_share% requests needs_most days days_so_far rollback",
    "panel": (
        "lens written decides because agrees switch_month_p50 p_never% "
        "regret_usd regret_se_usd false_alarm_share%"
    ),
    "panel_workloads": "lens workload decides because agrees",
    "agreement": (
        "workload strategist challenger analyst architect this_memo judged agree agree_share%"
    ),
}
"""The columns that a page shows of a wide table, a share in per cent where marked with %; the
table's file holds all of them, as they are."""


class ChapterError(ValueError):
    """A chapter that lacks what an earlier one of the same study should have written."""


@dataclass(frozen=True)
class Chapter:
    """One notebook at work: its name, the study it is about and the folder that its run fills.

    The committed reference is read and never written: `make reference` executes into a folder of
    its own and renames that.
    """

    name: str
    study: Study
    run: Path

    @cached_property
    def study_sha256(self) -> str:
        """SHA-256 of the study with its figures, which every result carries."""
        return sha256(canonical.dumps(kept(self.study)).encode()).hexdigest()

    def read(self, name: str) -> dict[str, Any]:
        """The results of an earlier chapter of this study, as it wrote them.

        In a folder of `outputs/notebooks`, where a notebook lands that is executed alone, those of
        the committed reference stand in for them, if they are of this study.
        Raises: ChapterError if that chapter has not run yet, or ran on another study.
        """
        alone = self.run.parent == paths.outputs() / "notebooks"
        folders = [self.run, paths.reference()] if alone else [self.run]
        files = [folder / "results" / f"{name}.json" for folder in folders]
        there = [json.loads(f.read_text(encoding="utf-8")) for f in files if f.is_file()]
        for results in there:
            if results.pop("study_sha256", None) == self.study_sha256:
                return dict(results)
        changed = "are of another study, or of this one before a change,"
        fault = changed if files[0].is_file() else "are missing"
        raise ChapterError(
            f"{self.name} needs the results of {name}, which {fault} in {self.run}: execute "
            f"{name}.ipynb for this study first, or `llmstudy run` for all chapters."
        )

    def write(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Keeps the chapter's results as `results/NAME.json`, for later chapters and other tools.

        Returns: the results as any later chapter will read them.
        Raises: ValueError as `canonical.plain` does: write None, not NaN.
        """
        text = canonical.dumps({"study_sha256": self.study_sha256, **results})
        self._save(f"results/{self.name}.json", text)
        return {key: x for key, x in json.loads(text).items() if key != "study_sha256"}

    def _save(self, name: str, content: str) -> None:
        if self.run.resolve() != paths.reference().resolve():
            canonical.write(self.run / name, content)

    def show(self, chart: charts.Chart | None, name: str) -> None:
        """Shows a chart with its text alternative, and keeps it as `charts/NAME.svg`.

        A chart that has nothing to show (None) is left out.
        """
        if chart is None:
            return
        drawing = charts.svg(chart.figure)
        self._save(f"charts/{name}.svg", drawing)
        alt = {"image/svg+xml": {"alt": chart.alt}}
        _display({"image/svg+xml": drawing, "text/plain": chart.alt}, alt)

    def table_if_any(self, rows: list[dict[str, Any]], name: str, caption: str) -> None:
        """Shows and keeps a table as `table` does, and nothing at all where it has no row."""
        if rows:
            self.table(rows, name, caption)

    def table(self, rows: pd.DataFrame | list[dict[str, Any]], name: str, caption: str) -> None:
        """Shows a table under its caption, and keeps all of it, unrounded, as `tables/NAME.csv`."""
        frame = canonical.columns(pd.DataFrame(rows))
        self.keep(frame, name)
        if frame.empty:
            self.say(f"{caption}: none.")
        else:
            self.html(table_html(_shown(frame, name), caption))

    def keep(self, frame: pd.DataFrame, name: str) -> None:
        """Keeps a table as `tables/NAME.csv` without showing it."""
        self._save(f"tables/{name}.csv", canonical.csv(frame))

    def heading(self, text: str) -> None:
        """Shows a finding as a heading of the third level. text: plain, as `say` takes it."""
        _display({"text/markdown": f"### {_literal(text)}"})

    def say(self, text: str) -> None:
        """Shows prose: plain text, in which `$` is a dollar, `<b>` no tag and `[a](b)` no link."""
        _display({"text/markdown": _literal(text)})

    def bullets(self, texts: Iterable[str]) -> None:
        """Shows a list, one point per text. texts: plain, as `say` takes them."""
        _display({"text/markdown": "\n".join(f"- {_literal(text)}" for text in texts)})

    def html(self, fragment: str) -> None:
        """Shows HTML as it stands: whoever composed it has escaped what came from outside."""
        _display({"text/html": fragment})


_MARKUP = re.compile(
    r"[\\`*_\[\]<>|~$&@#^{}]"  # emphasis, links, tags, code, tables, mathematics
    r"|^\s*[-+=]|(?<=^\d)[.)]|(?<=^\d\d)[.)]"  # lists and underlined headings
    r"|:(?=//)|(?<=www)\."  # addresses that would become links
)


def _literal(text: str) -> str:
    """Text as Markdown that shows it as it is, on one line.

    >>> _literal("[x](http://a) costs $5")
    '&#91;x&#93;(http&#58;//a) costs &#36;5'
    """
    line = " ".join(text.split())
    return _MARKUP.sub(lambda found: f"&#{ord(found[0])};", line)


def _display(data: dict[str, str], metadata: Mapping[str, Any] | None = None) -> None:
    display(data, raw=True, metadata=metadata)  # type: ignore[no-untyped-call]


def open_chapter(name: str, study: str, run: str = "") -> Chapter:
    """The chapter that a notebook's first cell opens.

    study: a study file, relative to the current folder or to the project's root. run: the folder
    that the run fills, likewise, made if it is missing; without it `outputs/notebooks/STUDY-HASH`,
    which no other study file shares.
    Raises: StudyError if the study cannot be used.
    """
    loaded = load(study)
    folder = Path(run)
    if not run:
        place = sha256(str(paths.resolve(study).resolve()).encode()).hexdigest()[:6]
        folder = paths.outputs() / "notebooks" / f"{loaded.study}-{place}"
    elif not folder.exists():
        folder = paths.outputs().parent / folder
    folder.mkdir(parents=True, exist_ok=True)
    return Chapter(name, loaded, folder)


# ---- tables -------------------------------------------------------------------------------------


def _shown(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    """What a page shows of a table."""
    if name not in SHOWN:
        return frame
    columns = {}
    for asked in SHOWN[name].split():
        column = asked.removesuffix("%")
        columns[column] = frame[column].map(_percent) if asked != column else frame[column]
    return pd.DataFrame(columns)


def _percent(x: Any) -> str | None:
    return None if canonical.missing(x) else share(x)


def table_html(frame: pd.DataFrame, caption: str) -> str:
    """A table as plain HTML: escaped, figures to the right, the first column heading each row.

    Columns and cells that bear names of the code are put in the words of `llmstudy.words`; what is
    `Markup` is HTML already. Numbers are shown to four digits, with every digit left of the point;
    a missing one as a dash. Text that reads as a figure ("USD 1.2M", "83 %", "never") is set like
    one.

    >>> print(table_html(pd.DataFrame({"arm": ["a<b"], "usd": [1234567.8]}), "Cost"))
    <div class="table" role="region" tabindex="0" aria-label="Cost"><table>
    <caption>Cost</caption>
    <thead>
    <tr><th scope="col">arm</th><th scope="col" class="n">USD</th></tr>
    </thead>
    <tbody>
    <tr><th scope="row">a&lt;b</th><td class="n">1,234,568</td></tr>
    </tbody>
    </table></div>
    """
    numeric = [_is_numeric(frame.iloc[:, i]) for i in range(frame.shape[1])]
    heads = "".join(
        f'<th scope="col"{_class(right)}>{_escaped(heading(str(name)))}</th>'
        for name, right in zip(frame.columns, numeric, strict=True)
    )
    worded = [
        [_worded(str(name), cell) for cell in frame.iloc[:, i]]
        for i, name in enumerate(frame.columns)
    ]
    rows = "\n".join(_row(row, numeric) for row in zip(*worded, strict=True))
    label, shown = _escaped(_plain(caption)), _escaped(caption)
    return (
        f'<div class="table" role="region" tabindex="0" aria-label="{label}"><table>\n'
        f"<caption>{shown}</caption>\n<thead>\n<tr>{heads}</tr>\n</thead>\n"
        f"<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


_FIGURE = re.compile(r"never|[<>+−-]{0,2}(USD )?\d[\d.,]*[kMB]?( %)?( to .+)?")


def _is_numeric(column: pd.Series) -> bool:
    cells = column.dropna()
    return not cells.empty and all(
        _FIGURE.fullmatch(_plain(cell)) if isinstance(cell, str) else pd.api.types.is_number(cell)
        for cell in cells
    )


def _plain(cell: str) -> str:
    return cell.striptags() if isinstance(cell, Markup) else cell


def _worded(column: str, cell: Any) -> Any:
    return named(column, cell) if isinstance(cell, str) and not isinstance(cell, Markup) else cell


def _row(cells: tuple[Any, ...], numeric: list[bool]) -> str:
    # short text stays on one line: "USD 2.29" is one thing
    texts = [cell if isinstance(cell, Markup) else _cell(cell) for cell in cells]
    kept = [text if len(text) > 12 else text.replace(" ", "\u00a0") for text in texts]
    shown = [_escaped(text) for text in kept]
    head = f'<th scope="row"{_class(numeric[0])}>{shown[0]}</th>' if shown else ""
    rest = zip(shown[1:], numeric[1:], strict=True)
    return f"<tr>{head}{''.join(f'<td{_class(n)}>{text}</td>' for text, n in rest)}</tr>"


def _cell(cell: Any) -> str:
    if canonical.missing(cell):
        return "–"
    if pd.api.types.is_bool(cell):
        return "yes" if cell else "no"
    if pd.api.types.is_number(cell):
        x: float = float(cell)  # type: ignore[arg-type]
        return (f"{x:,.0f}" if abs(x) >= 1000 or x.is_integer() else f"{x:.4g}").replace("-", "−")
    if isinstance(cell, date):
        return cell.isoformat().removesuffix("T00:00:00")
    return str(cell)


def _class(right: bool) -> str:
    return ' class="n"' if right else ""


def _escaped(text: str) -> str:
    return text if isinstance(text, Markup) else html.escape(text, quote=True)
