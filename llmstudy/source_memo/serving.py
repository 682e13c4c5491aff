"""What does an A100 carry of Llama 3.1 70B, by a curve that was measured on other GPUs?

No point on an A100 is bundled. The curves fitted on H100 and H200 are transferred to its data
sheet: the grade is *assumed*, since no transfer to Ampere or to INT4 was ever tested against a
measurement.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import pandas as pd

from llmstudy.measures.capacity import (
    CannotServe,
    Gpu,
    ServingCurve,
    capacity_at_slo,
    fit_serving_curve,
    gpu,
    gpu_fit,
    model_shape,
    serving_points,
)
from llmstudy.source_memo.premises import Mix

MODEL = "meta-llama/Llama-3.1-70B"

MEASURED_ON = ("h100_sxm", "h200_sxm")
"""The GPUs whose FP8 points of the model are bundled, of the same family of engines."""

UNTESTED_SHARE = 0.5
"""Plus or minus: the honest default for an untested configuration (cost.md 4.2)."""


def a100(memory_gib: int) -> Gpu:
    """The A100 SXM of 40 or 80 GB.

    Source: `data/gpu_specs.csv` for the card of 80 GB; NVIDIA A100 data sheet (2021) for the other:
    40 GB at 1,555 GB/s, the same arithmetic.
    """
    card = gpu("a100_80gb_sxm")
    if memory_gib == 80:
        return card
    if memory_gib == 40:
        return replace(card, gpu="a100_40gb_sxm", memory_gib=40, hbm_gb_per_s=1555)
    raise ValueError(f"no A100 has {memory_gib} GB: write 40 or 80")


def memory_fits(
    precisions: Iterable[str] = ("fp8", "int4"), sizes: Iterable[int] = (1, 2, 4)
) -> pd.DataFrame:
    """Does the 70B fit? Columns: gpu, precision, gpus, fits, kv_gib (left for the KV cache), why.

    >>> memory_fits(["int4"], [1])[["gpu", "fits"]].values.tolist()
    [['a100_40gb_sxm', False], ['a100_80gb_sxm', True]]
    """
    sizes = tuple(sizes)
    rows = []
    for card in (a100(40), a100(80)):
        for precision in precisions:
            for gpus in sizes:
                try:
                    left, why = gpu_fit(model_shape(MODEL), card, precision, gpus), ""
                except CannotServe as error:
                    left, why = 0.0, str(error)
                rows.append((card.gpu, precision, gpus, not why, left, why))
    return pd.DataFrame(rows, columns=["gpu", "precision", "gpus", "fits", "kv_gib", "why"])


@dataclass(frozen=True)
class Serving:
    """What one replica carries by our serving curves: requests/s, low and high, and its grade."""

    gpus_per_replica: int
    requests_per_s_low: float
    requests_per_s_high: float
    outside: tuple[str, ...]
    grade: str = "assumed"


def a100_serving(
    mix: Mix, tpot_slo_s: float, memory_gib: int = 40, gpus: int = 2, precision: str = "int4"
) -> Serving:
    """A replica of A100 within a TPOT target, between the two curves and their untested transfer.

    The default is what a p4d can run: two cards of 40 GB, since the weights do not fit on one.
    Raises: capacity.CannotServe where it cannot run or not within the target.
    """
    points = [
        capacity_at_slo(curve, mix.input_tokens, mix.output_tokens, tpot_slo_s, gpus)
        for curve in _curves(a100(memory_gib), precision)
    ]
    rates = [point.requests_per_s for point in points]
    return Serving(
        gpus_per_replica=gpus,
        requests_per_s_low=min(rates) * (1 - UNTESTED_SHARE),
        requests_per_s_high=max(rates) * (1 + UNTESTED_SHARE),
        outside=_outside([name for point in points for name in point.outside]),
    )


def card_rates(lengths: Iterable[Mix], precision: str = "int4") -> pd.DataFrame:
    """The most that one A100 of 80 GB carries of short completions, with no latency target at all.

    As many requests at once as the KV cache holds. Columns: input_tokens, output_tokens,
    requests_per_s_low, requests_per_s_high (between the two curves, plus and minus the untested
    transfer), outside (what lies beyond the measured), grade.
    """
    curves = _curves(a100(80), precision)
    rows = []
    for mix in lengths:
        pair = (mix.input_tokens, mix.output_tokens)
        batches = [int(curve.max_concurrency(*pair, 1)) for curve in curves]
        batched = list(zip(curves, batches, strict=True))
        rates = [float(curve.max_requests_per_s(batch, *pair, 1)) for curve, batch in batched]
        names = [name for curve, batch in batched for name in curve.hull.outside(batch, *pair, 1)]
        low, high = min(rates) * (1 - UNTESTED_SHARE), max(rates) * (1 + UNTESTED_SHARE)
        rows.append((*pair, low, high, ", ".join(_outside(names)), "assumed"))
    columns = ["input_tokens", "output_tokens", "requests_per_s_low", "requests_per_s_high"]
    return pd.DataFrame(rows, columns=[*columns, "outside", "grade"])


def most_tokens_per_request(requests_per_s: float) -> float:
    """The longest request, prompt and answer, at which one A100 could reach a rate at all.

    A physical limit: every token takes two operations per parameter, and the card is taken to do
    nothing else at the peak of its data sheet. No serving curve enters.
    Source: 2 x parameters operations per token, Pope et al. (2022), arXiv 2211.05102, section 2.

    >>> round(most_tokens_per_request(30)), round(most_tokens_per_request(50))
    (74, 44)
    """
    peak_tokens_per_s = a100(80).flops_per_s("int4") / (2 * model_shape(MODEL).active_params)
    return peak_tokens_per_s / requests_per_s


def _curves(card: Gpu, precision: str) -> list[ServingCurve]:
    shape = model_shape(MODEL)
    return [
        replace(
            fit_serving_curve(serving_points(MODEL, name, "fp8"), shape, gpu(name), "fp8"),
            gpu=card,
            precision=precision,
        )
        for name in MEASURED_ON
    ]


def _outside(lengths: Iterable[str]) -> tuple[str, ...]:
    return ("gpu", "precision", *dict.fromkeys(lengths))
