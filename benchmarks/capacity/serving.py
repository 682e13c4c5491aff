"""How right is a curve fitted to eight points beside NVIDIA's aiconfigurator, on the same others?

aiconfigurator foretells TPOT from kernel times that it brings along, and is fitted to no point of
ours; but its vLLM constants were tuned on the corpus that these points are from. It runs in an
environment of its own (see `aiconfigurator_points.py`).
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd

from llmstudy.figure import FloatArray
from llmstudy.measures.capacity import (
    CONFIGURATION,
    GROUP,
    SETTING,
    ServingCurve,
    choose_points,
    fit_groups,
    guessed_curve,
    requests_per_s,
    roofline,
    serving_points,
    throughput_error_share,
    usable_points,
)
from llmstudy.measures.capacity.fit import fit_usable, groups

PEER = "aiconfigurator==0.12.0"
ASK = Path(__file__).with_name("aiconfigurator_points.py")
N_FIT = 8


# ---- ours ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Group:
    """A group as `fit_groups` fits it: its curve, the configurations of the fit and those held out.

    fitted, heldout: as `usable_points`, with the point_id of one measurement of each configuration.
    cpu_s: what the choice, the fit and the prediction took.
    """

    key: Mapping[str, str]
    curve: ServingCurve
    fitted: pd.DataFrame
    heldout: pd.DataFrame
    cpu_s: float


def fitted_groups(points: pd.DataFrame, seed: int) -> list[Group]:
    """Every group that `fit_groups` fits, and what it held out.

    Raises: AssertionError where the held-out error is not the one that `fit_groups` reports.
    """
    judged: dict[tuple[str, ...], float] = {
        (g.model, g.gpu, g.precision, g.engine_version): g.median_abs_error_share
        for g in fit_groups(points, N_FIT, seed, random_choices=1)[0]
    }
    found = []
    for key, group, shape, card in groups(points):
        if tuple(key.values()) not in judged:
            continue
        used = usable_points(group, shape, card, key["precision"])
        limit = roofline(group, shape, card, key["precision"])
        began = time.process_time()
        guess = guessed_curve(shape, card, key["precision"], key["engine_version"])
        chosen = choose_points(guess, used, N_FIT, seed)
        curve = fit_usable(used.iloc[chosen], limit)
        setting = pd.MultiIndex.from_frame(used[SETTING])
        heldout = used[~setting.isin(setting[chosen])]
        errors = throughput_error_share(curve, heldout)
        cpu_s = time.process_time() - began
        assert np.isclose(np.median(errors), judged[tuple(key.values())])
        fitted, heldout = (_with_point_id(x, group) for x in (used.iloc[chosen], heldout))
        found.append(Group(key, curve, fitted, heldout, cpu_s))
    return found


def _with_point_id(used: pd.DataFrame, points: pd.DataFrame) -> pd.DataFrame:
    """Repeats were pooled: one of them stands for their configuration."""
    points = points.assign(recorded_dp=points["attention_dp"])
    points["attention_dp"] = points["attention_dp"].fillna(1)
    one = points.drop_duplicates([*GROUP, *CONFIGURATION])
    columns = [*GROUP, *CONFIGURATION, "point_id", "recorded_dp"]
    return used.merge(one[columns], on=[*GROUP, *CONFIGURATION])


def comparable(group: Group, used: pd.DataFrame) -> pd.DataFrame:
    """The configurations of whose GPUs both read the same from the source.

    Where attention is data parallel the source's columns may mean as many GPUs as tensor
    parallelism says, as we read them, or several times as many, as aiconfigurator does; where
    a mixture of experts does not record it, they do not add up.
    """
    experts = group.curve.shape.experts > 0
    dp = used["recorded_dp"]
    return used[(dp == 1) | (dp.isna() & (not experts))]


def sampled(points: pd.DataFrame, n: int, seed: int) -> pd.DataFrame:
    """n of the points, or all where they are fewer."""
    order = np.random.default_rng(seed).permutation(len(points))
    return points.iloc[np.sort(order[:n])]


# ---- theirs --------------------------------------------------------------------------------------


def peer_python(folder: Path) -> Path:
    """The interpreter of the environment that holds the peer, made where there is none."""
    python = folder.absolute() / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    known = subprocess.run(
        [python, "-m", "pip", "show", PEER.partition("==")[0]], capture_output=True, text=True
    )
    if f"Version: {PEER.partition('==')[2]}" not in known.stdout.splitlines():
        subprocess.run([python, "-m", "pip", "install", "--quiet", PEER], check=True)
    return python


def ask_peer(folder: Path, point_ids: Iterable[str]) -> pd.DataFrame:
    """What the peer foretells. Columns: point_id, modes, tpot_ms, cpu_s, problem.

    Raises: RuntimeError with the end of its output when it fails as a whole.
    """
    with TemporaryDirectory() as work:
        asked, answered = Path(work) / "asked.json", Path(work) / "answered.json"
        asked.write_text(json.dumps(list(point_ids)))
        done = subprocess.run(
            [peer_python(folder), ASK, asked, answered], capture_output=True, text=True, cwd=work
        )
        if done.returncode:
            raise RuntimeError(f"aiconfigurator ended with {done.returncode}: {done.stderr[-800:]}")
        return pd.DataFrame(json.loads(answered.read_text()))


def throughput_error_of(points: pd.DataFrame, tpot_ms: FloatArray) -> FloatArray:
    """|predicted / measured - 1| of throughput at the measured TTFT, as `throughput_error_share`.

    >>> one = {"concurrency": [8], "output_tokens": [101], "ttft_ms": [0.0], "tpot_ms": [10.0]}
    >>> throughput_error_of(pd.DataFrame(one), np.array([8.0])).tolist()
    [0.25]
    """
    batch, output = points["concurrency"], points["output_tokens"]
    ttft_s, measured_s = points["ttft_ms"] / 1e3, points["tpot_ms"].to_numpy() / 1e3
    said = requests_per_s(batch, output, ttft_s, np.asarray(tpot_ms) / 1e3)
    return np.asarray(np.abs(said / requests_per_s(batch, output, ttft_s, measured_s) - 1))


# ---- both ----------------------------------------------------------------------------------------


def against_aiconfigurator(peer_env: Path, sample: int, seed: int = 0) -> list[dict[str, Any]]:
    """One row per group, worst of ours first, one per group left out, and last the whole.

    sample: held-out configurations drawn of each group. The peer has the benefit of the better of
    two settings in each group (see `aiconfigurator_points.py`), as it comes and scaled: its TPOT
    times the factor that fits the points best that ours is fitted to.
    """
    every = fitted_groups(serving_points(), seed)
    drawn = [sampled(comparable(g, g.heldout), sample, seed) for g in every]
    known = [comparable(g, g.fitted) for g in every]
    answers = ask_peer(peer_env, pd.concat([*drawn, *known])["point_id"])
    rows: list[dict[str, Any]] = []
    left_out, errors = [], []
    for group, points, fitted in zip(every, drawn, known, strict=True):
        if points.empty:
            reason = "the source does not say how attention is spread over the GPUs"
            left_out.append({**group.key, "left_out": reason})
            continue
        plain, scaled, problem = peer_errors(points, fitted, answers)
        if not plain:
            left_out.append({**group.key, "left_out": problem})
            continue
        modes, theirs = min(plain.items(), key=lambda one: float(np.median(one[1])))
        ours = throughput_error_share(group.curve, points)
        errors.append(np.stack([ours, theirs]))
        rows.append(
            {
                **group.key,
                "n_heldout": len(group.heldout),
                "n_compared": len(points),
                "ours_median": float(np.median(ours)),
                "aiconfigurator_median": float(np.median(theirs)),
                "modes": modes,
                "aiconfigurator_scaled_median": min(float(np.median(x)) for x in scaled.values()),
                "ours_median_of_all_heldout": float(
                    np.median(throughput_error_share(group.curve, group.heldout))
                ),
                "ours_cpu_s": group.cpu_s,
            }
        )
    rows.sort(key=lambda row: -row["ours_median"])
    return [*rows, *left_out, summary(rows, np.concatenate(errors, axis=1), answers)]


def peer_errors(
    points: pd.DataFrame, fitted: pd.DataFrame, answers: pd.DataFrame
) -> tuple[dict[str, FloatArray], dict[str, FloatArray], str]:
    """The peer's errors at the points by its modes, as it comes and scaled, and what it could not.

    fitted: the points whose mean log ratio of measured to foretold TPOT gives the scale. Modes
    under which a point has no answer are left out; the last reason is returned.
    """
    plain, scaled, problem = {}, {}, ""
    for modes, said in answers.groupby("modes"):
        said = said.drop_duplicates("point_id").set_index("point_id")
        at, at_fitted = (
            said.loc[x["point_id"], "tpot_ms"].to_numpy(dtype=float) for x in (points, fitted)
        )
        if np.isnan([*at, *at_fitted]).any():
            problems = said.loc[[*points["point_id"], *fitted["point_id"]], "problem"]
            problem = str(problems[problems != ""].iloc[0])
            continue
        scale = np.exp(np.log(fitted["tpot_ms"].to_numpy() / at_fitted).mean())
        plain[str(modes)] = throughput_error_of(points, at)
        scaled[str(modes)] = throughput_error_of(points, scale * at)
    return plain, scaled, problem


def summary(
    rows: list[dict[str, Any]], errors: FloatArray, answers: pd.DataFrame
) -> dict[str, Any]:
    """Medians of the groups' medians, their ratios, and what a point costs.

    rows: of the groups compared. errors: ours and theirs of the same points, (2, points).
    """
    ours, theirs, scaled = (
        float(np.median([row[name] for row in rows]))
        for name in ("ours_median", "aiconfigurator_median", "aiconfigurator_scaled_median")
    )
    answered = answers[answers["tpot_ms"].notna()]
    ours_s = sum(row["ours_cpu_s"] for row in rows) / sum(row["n_heldout"] for row in rows)
    return {
        "groups": len(rows),
        "points": errors.shape[1],
        "ours_median_of_medians": ours,
        "aiconfigurator_median_of_medians": theirs,
        "ratio": theirs / ours,
        "aiconfigurator_scaled_median_of_medians": scaled,
        "ratio_scaled": scaled / ours,
        "groups_in_which_ours_errs_less": sum(
            row["ours_median"] < row["aiconfigurator_median"] for row in rows
        ),
        "points_at_which_ours_errs_less_share": float((errors[0] < errors[1]).mean()),
        "ours_s_per_point": ours_s,
        "aiconfigurator_s_per_point": float(answered["cpu_s"].median()),
        "ratio_of_time": float(answered["cpu_s"].median()) / ours_s,
    }
