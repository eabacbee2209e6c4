"""What a stage used: peak memory of the process, and of the GPU its peak memory and how busy it was."""

from __future__ import annotations

import ctypes
import os
import resource
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SAMPLE_SECONDS = 2.0
"""Between two looks at the GPU's utilisation."""


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


@contextmanager
def measured() -> Iterator[dict[str, float]]:
    """Measure a block; the mapping is filled when it ends, by an error too.

    peak_memory_mb: resident set of this process, its highest so far. gpu_peak_memory_mb: allocated by torch, of the
    device that had most. gpu_utilisation: mean percentage of the first visible device, where its driver tells.
    """
    told: dict[str, float] = {}
    busy: list[int] = []
    stop = threading.Event()
    watcher = threading.Thread(target=_watch, args=(busy, stop), daemon=True)
    watcher.start()
    try:
        yield told
    finally:
        stop.set()
        watcher.join(SAMPLE_SECONDS)
        scale = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kilobytes
        told["peak_memory_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e6, 1)
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
            peaks = [torch.cuda.max_memory_allocated(device) for device in range(torch.cuda.device_count())]
            told["gpu_peak_memory_mb"] = round(max(peaks, default=0) / 1e6, 1)
            if busy:
                told["gpu_utilisation"] = round(sum(busy) / len(busy), 1)


def _watch(busy: list[int], stop: threading.Event) -> None:
    """Sample the first device until told to stop; without NVIDIA's driver there is nothing to do."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        device = ctypes.c_void_p()
        if nvml.nvmlInit_v2() or nvml.nvmlDeviceGetHandleByIndex_v2(_first_device(), ctypes.byref(device)):
            return
    except (OSError, AttributeError):
        return
    now = _Utilization()
    while not stop.wait(SAMPLE_SECONDS):
        if nvml.nvmlDeviceGetUtilizationRates(device, ctypes.byref(now)) == 0:
            busy.append(int(now.gpu))


def _first_device() -> int:
    """NVML's number of the first device that this process may use; NVML itself ignores CUDA_VISIBLE_DEVICES."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0].strip()
    return int(first) if first.isdigit() else 0
