"""Which GPUs does this machine have, and how high was their utilisation during a run?

Read through NVML, the driver's own library (package `nvidia-ml-py`; vLLM carries a copy). Without
either, or without a driver, the facts are None and a note says why: nothing here fails a run.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from statistics import fmean
from typing import Any

_MODULES = ("pynvml", "vllm.third_party.pynvml")

GPU_NAMES = {
    "B300": "b300_sxm",
    "GB200": "gb200",
    "B200": "b200_sxm",
    "H200 NVL": None,
    "H200": "h200_sxm",
    "H100 NVL": None,
    "H100 PCIe": "h100_pcie",
    "H100 80GB HBM3": "h100_sxm",
    "A100-SXM4-80GB": "a100_80gb_sxm",
    "L40S": "l40s",
    "L4": "l4",
    "RTX PRO 6000": "rtx_pro_6000",
}
"""NVML's product names by their distinctive part, first match first, as named in
`data/gpu_specs.csv`; None: a card of another rating that we have no data sheet of."""


@dataclass
class GpuUse:
    """Readings of the GPUs, one for each card and time. Empty without NVML."""

    readings: int = 0
    """Times at which all cards were read."""
    utilisation_share: list[float] = field(default_factory=list)
    """Of the last sampling period, the share in which a kernel ran: not how full the GPU was."""
    memory_gib: list[float] = field(default_factory=list)
    power_w: list[float] = field(default_factory=list)
    note: str | None = None
    """Why there are no readings, or what broke them off."""

    def summary(self) -> dict[str, Any]:
        """Means and peaks over time and GPUs, each of one GPU.

        Returns: readings, utilisation_mean_share, memory_peak_gib, power_mean_w, power_peak_w,
        note. None where nothing was read.

        >>> GpuUse(power_w=[300.0, 500.0]).summary()["power_mean_w"]
        400.0
        """
        utilisation, power = self.utilisation_share, self.power_w
        return {
            "readings": self.readings,
            "utilisation_mean_share": fmean(utilisation) if utilisation else None,
            "memory_peak_gib": max(self.memory_gib, default=None),
            "power_mean_w": fmean(power) if power else None,
            "power_peak_w": max(power, default=None),
            "note": self.note,
        }


def spec_name(product: str) -> str | None:
    """The name in `data/gpu_specs.csv` of a product as NVML calls it; None if it is not there.

    >>> spec_name("NVIDIA H200"), spec_name("NVIDIA H100 80GB HBM3"), spec_name("NVIDIA T4")
    ('h200_sxm', 'h100_sxm', None)
    """
    words = f"{product} "
    return next((name for part, name in GPU_NAMES.items() if f"{part} " in words), None)


def gpu_facts() -> dict[str, Any]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to this process, for the facts of a run.

    Returns: gpu (name in `data/gpu_specs.csv`, None if not there), gpu_product (as NVML says),
    gpus (count), gpu_memory_gib, power_limit_w, mig (bool), driver, cuda (highest that the driver
    serves), gpu_note (why a fact is None). Facts of a card are those of the first.
    """
    facts = dict.fromkeys(
        ["gpu", "gpu_product", "gpus", "gpu_memory_gib", "power_limit_w", "mig", "driver", "cuda"]
    )
    try:
        with _nvml() as (nvml, handles):
            products = [_text(nvml.nvmlDeviceGetName(handle)) for handle in handles]
            cuda = nvml.nvmlSystemGetCudaDriverVersion()
            card = {
                "gpu": spec_name(products[0]),
                "gpu_product": products[0],
                "gpus": len(handles),
                "gpu_memory_gib": nvml.nvmlDeviceGetMemoryInfo(handles[0]).total / 2**30,
                "power_limit_w": _if_given(
                    nvml, lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(handles[0]) / 1e3
                ),
                "mig": _if_given(nvml, lambda: bool(nvml.nvmlDeviceGetMigMode(handles[0])[0])),
                "driver": _text(nvml.nvmlSystemGetDriverVersion()),
                "cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
            }
    except _NoGpuError as error:
        return facts | {"gpu_note": str(error)}
    note = None
    if len(set(products)) > 1:
        note = f"the GPUs differ: {', '.join(products)}"
    elif card["gpu"] is None:
        note = f"{products[0]} is not in data/gpu_specs.csv: add its data sheet for a limit"
    return facts | card | {"gpu_note": note}


@contextmanager
def gpu_use(period_s: float = 1.0) -> Iterator[GpuUse]:
    """Reads utilisation, memory and power of the visible GPUs while the block runs.

    A thread of its own reads once per period, the first time at once. Without NVML the block runs
    all the same.
    """
    use, stop = GpuUse(), threading.Event()
    thread = threading.Thread(target=_read, args=(use, stop, period_s), daemon=True)
    thread.start()
    try:
        yield use
    finally:
        stop.set()
        thread.join(timeout=10)


class _NoGpuError(Exception):
    """NVML is missing, or has no GPU."""


def _read(use: GpuUse, stop: threading.Event, period_s: float) -> None:
    """Appends readings until `stop` is set."""
    try:
        with _nvml() as (nvml, handles):
            while True:
                use.memory_gib += [nvml.nvmlDeviceGetMemoryInfo(h).used / 2**30 for h in handles]
                use.power_w += [nvml.nvmlDeviceGetPowerUsage(h) / 1e3 for h in handles]
                use.readings += 1
                try:
                    rates = [nvml.nvmlDeviceGetUtilizationRates(h) for h in handles]
                    use.utilisation_share += [rate.gpu / 100 for rate in rates]
                except nvml.NVMLError as error:  # of a MIG slice there is none
                    use.note = f"NVML gives no utilisation: {error}"
                if stop.wait(period_s):
                    return
    except _NoGpuError as error:
        use.note = str(error)


@contextmanager
def _nvml() -> Iterator[tuple[Any, Sequence[Any]]]:
    """NVML, opened, and the visible GPUs. Raises _NoGpuError with the reason in a sentence."""
    nvml: Any = None
    for name in _MODULES:
        try:
            nvml = import_module(name)
            break
        except ImportError:
            continue
    if nvml is None:
        raise _NoGpuError("NVML cannot be read: nvidia-ml-py is not installed")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        raise _NoGpuError(f"NVML finds no NVIDIA driver: {error}") from error
    try:
        handles = _visible(nvml)
        if not handles:
            raise _NoGpuError("NVML finds no GPU that CUDA_VISIBLE_DEVICES leaves visible")
        yield nvml, handles
    except nvml.NVMLError as error:
        raise _NoGpuError(f"NVML stopped answering: {error}") from error
    finally:
        nvml.nvmlShutdown()


def _visible(nvml: Any) -> list[Any]:
    """Handles of the GPUs named in CUDA_VISIBLE_DEVICES by number or UUID; all if it is not set."""
    names = os.environ.get("CUDA_VISIBLE_DEVICES")
    if names is None:
        return [nvml.nvmlDeviceGetHandleByIndex(i) for i in range(nvml.nvmlDeviceGetCount())]
    each = [name.strip() for name in names.split(",") if name.strip() not in ("", "-1")]
    return [
        nvml.nvmlDeviceGetHandleByIndex(int(name))
        if name.isdigit()
        else nvml.nvmlDeviceGetHandleByUUID(name)
        for name in each
    ]


def _if_given(nvml: Any, reading: Callable[[], Any]) -> Any:
    """A reading that some cards do not give; None of these."""
    try:
        return reading()
    except nvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    """NVML's text; its older bindings give bytes."""
    return value.decode() if isinstance(value, bytes) else value
