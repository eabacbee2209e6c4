"""How fast Module I trains, and how busy it keeps a GPU: one table over precisions, cached vectors and tuned backbones.

    python -m benchmarks.gpu [--image-backbone resnet10t] [--batch-size 1024] [--steps 100] [--out table.md]
    torchrun --nproc-per-node=2 -m benchmarks.gpu         # the same batches, shared by two ranks
    python -m benchmarks.gpu --only tuned --image-backbone vit_base_patch32_224 -S encode.image_scaled=224 \
        -S encode.text_width=768 -S encode.text_layers=6 -S encode.text_heads=12   # of the size of the paper's encoders

No dataset is needed: pictures and titles are random, of a usual size. Each row is the product's own training loop
(`fit` with the plan of `pretrain`), but `naive`: the step as it is often written, which encodes a picture once for
each place it takes in a bag, makes its batch between two steps, copies it from pageable memory and reads the loss at
each step.

step ms      wall time of a step, over `--steps` of them after a warm-up, no profiler running
busy         kernel and copy time of a step, by torch.profiler over PROFILED more steps, as a share of step ms
waits        times a step in which the host waited for the device (cudaStreamSynchronize and its like)
peak GiB     most memory allocated by torch on the device during the timed steps
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain, count, islice
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from accelerate import Accelerator

from benchmarks.workload import Workload
from mufin_model import config
from mufin_model.artefacts import Workspace
from mufin_model.config import Settings
from mufin_model.network.bags import BagBatch
from mufin_model.network.embedder import TunedImages
from mufin_model.training import pretrain
from mufin_model.training.loop import Plan, fit
from mufin_model.training.ranks import accelerator, ranks_of, synchronise_norms
from mufin_model.training.stopping import JUDGE, Stopping

PROFILED = 10
COLUMNS = ("step ms", "items/s", "busy", "waits", "peak GiB")


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    tuned: bool
    precision: str = "fp32"
    compile: bool = False
    naive: bool = False


def rows(gpu: bool) -> list[Row]:
    """What is compared; half precision and compiling on GPUs alone."""
    out = []
    for tuned, what in ((False, "cached vectors"), (True, "tuned backbones")):
        out += [Row(f"{what}, naive, fp32", tuned, naive=True), Row(f"{what}, fp32", tuned)]
        if gpu:
            out.append(Row(f"{what}, bf16", tuned, "bf16"))
    return [*out, Row("tuned backbones, bf16, compiled", True, "bf16", compile=True)] if gpu else out


@dataclass
class Clock:
    """Times the second of three passes, and profiles the third; on the main rank."""

    device: torch.device
    steps: int
    main: bool = True
    began: float = 0.0
    seconds: float = 0.0
    peak: int = 0
    profile: Any = None
    lengths: tuple[int, int, int] = field(init=False)

    def __post_init__(self) -> None:
        self.lengths = (max(2, self.steps // 5), self.steps, min(self.steps, PROFILED))

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"

    def begin(self, number: int) -> None:
        if self.gpu:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            if number == 2 and self.main:
                kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
                self.profile = torch.profiler.profile(activities=kinds)
                self.profile.start()
        self.began = time.perf_counter()

    def end(self, number: int) -> None:
        if self.gpu:
            torch.cuda.synchronize()
        if number == 1:
            self.seconds = time.perf_counter() - self.began
            self.peak = torch.cuda.max_memory_allocated() if self.gpu else 0
        if self.profile is not None:
            self.profile.stop()

    def figures(self, batch: int) -> list[str]:
        """Cells of COLUMNS; none on other ranks than the main one."""
        if not self.main:
            return []
        step = self.seconds / self.lengths[1]
        out = [f"{1000 * step:.2f}", f"{batch / step:,.0f}"]
        if self.profile is None:
            return [*out, "", "", ""]
        events = list(self.profile.events())
        on_device = [e for e in events if str(e.device_type).endswith("CUDA") and not e.is_user_annotation]
        busy = sum(e.time_range.elapsed_us() for e in on_device) / 1e6 / self.lengths[2] / step
        # One at the end of the pass is this clock's own.
        waits = sum("Synchronize" in e.name for e in events if e not in on_device) - 1
        return [*out, f"{100 * busy:.0f} %", f"{waits / self.lengths[2]:.1f}", f"{self.peak / 2**30:.2f}"]


def main(
    image_backbone: Annotated[str, typer.Option(help="Any timm model.")] = "resnet10t",
    batch_size: Annotated[int, typer.Option(min=2, help="Items in a batch.")] = 1024,
    steps: Annotated[int, typer.Option(min=1, help="Steps timed.")] = 100,
    items: Annotated[
        int, typer.Option(min=8, help="Items of the catalogue; as many pictures, a quarter as many labels.")
    ] = 20_000,
    image_size: Annotated[int, typer.Option(min=16, help="Side of a picture, in pixels.")] = 64,
    only: Annotated[str, typer.Option(help="Rows whose name holds this.")] = "",
    setting: Annotated[
        list[str] | None, typer.Option("--set", "-S", help="As of every stage: pretrain.loss=triplet.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Append the table to this Markdown file.")] = None,
) -> None:
    """Train each row's model for some steps, print one table."""
    lines = []
    with tempfile.TemporaryDirectory(prefix="mufin-gpu-") as folder:
        load = Workload.make(Path(folder), items, image_size)
        for row in rows(torch.cuda.is_available()):
            if only not in row.name:
                continue
            overrides = [
                f"encode.image_backbone={image_backbone}",
                "encode.text_start=random",
                f"pretrain.batch_size={batch_size}",
                f"pretrain.mixed_precision={row.precision}",
                "pretrain.cluster_after=1000000",
                *(setting or []),
            ]
            settings = config.load(Workspace.find().params, "demo", overrides)
            accelerate = accelerator(settings.pretrain.mixed_precision)
            if row.naive and accelerate.num_processes > 1:
                continue
            cells = _measure(accelerate, row, load, settings, steps, Path(folder))
            lines.append(f"| {row.name} | " + " | ".join(cells) + " |")
            if accelerate.is_main_process:
                print(lines[-1], file=sys.stderr, flush=True)
            speaks, machine = accelerate.is_main_process, _machine(accelerate)
            accelerate.free_memory()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    if not lines or not speaks:
        return
    head = f"\n### Training step: {batch_size} items, {image_backbone} at {image_size} pixels; {machine}\n"
    text = "\n".join([head, "| |" + "".join(f" {c} |" for c in COLUMNS), "|---|" + "---:|" * len(COLUMNS), *lines])
    print(text)
    if out is not None:
        with out.open("a") as file:
            file.write(text + "\n")


def _measure(
    accelerate: Accelerator, row: Row, load: Workload, settings: Settings, steps: int, folder: Path
) -> list[str]:
    embedder, backbones = load.embedder(settings, row.tuned)
    embedder.to(accelerate.device)
    if isinstance(embedder.images, TunedImages) and not row.naive:
        embedder.images.settle(accelerate.device)
        synchronise_norms(accelerate, embedder.images.backbone)
    if row.compile and backbones is not None:
        backbones.fuse(accelerate.device)
    catalog = load.catalog
    n_train = len(catalog.items)
    step = pretrain.PretrainStep(embedder, settings.pretrain, n_train, catalog.n_seen, ranks_of(accelerate))
    step.to(accelerate.device)
    made = pretrain.plan(settings, catalog, load.bags, step, folder, folder)
    clock = Clock(accelerate.device, steps, accelerate.is_main_process)

    def some(number: int) -> Iterable[tuple[Any, ...]]:
        clock.begin(number)
        epochs = (made.batches(epoch) for epoch in count(1000 * number))
        return islice(chain.from_iterable(epochs), clock.lengths[number])

    passed = iter(count())

    def finish() -> dict[str, float]:
        clock.end(next(passed))
        return {"val_p1": 0.0, JUDGE: 0.0}

    timed = replace(made, epochs=3, steps=steps, batches=some, validate=finish, stopping=Stopping(0, 0), key=[row.name])
    (_naive if row.naive else fit)(accelerate, step, timed)
    (folder / "checkpoint.pt").unlink(missing_ok=True)
    return clock.figures(settings.pretrain.batch_size)


def _naive(accelerate: Accelerator, step: pretrain.PretrainStep, plan: Plan) -> None:
    parameters = [p for p in step.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters)
    for number in range(plan.epochs):
        step.train()
        for batch in _repeated(plan.batches(number)):
            optimizer.zero_grad()
            loss = step(*(each if each is None else each.to(accelerate.device) for each in batch))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 5.0)
            optimizer.step()
            loss.item()
        plan.validate()


def _repeated(batches: Iterable[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    """Batches whose bags name a picture anew wherever it occurs; what was gathered ahead is left out."""
    for batch in batches:
        yield tuple(_anew(each) if isinstance(each, BagBatch) else each for each in batch)


def _anew(bags: BagBatch) -> BagBatch:
    index = torch.zeros_like(bags.image_index)
    images = bags.images[bags.image_index[bags.image_mask]]
    index[bags.image_mask] = torch.arange(len(images))
    return BagBatch(images, index, bags.image_mask, bags.texts, bags.text_mask)


def _machine(accelerate: Accelerator) -> str:
    name = torch.cuda.get_device_name() if accelerate.device.type == "cuda" else "CPU"
    return f"{accelerate.num_processes} x {name}, torch {torch.__version__}"


if __name__ == "__main__":
    typer.run(main)
