"""Interrupted trainings go on to the same result; checkpoints of something else are refused."""

from __future__ import annotations

import dataclasses
import io
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from hwdse.allocators import ADQ, AdaQAT, QBitOpt, Uniform
from hwdse.checkpoint import Checkpoint, drop_damaged
from hwdse.checksums import sealed
from hwdse.errors import FileFormatError, TaskError
from hwdse.formats import LayerFormat
from hwdse.quantized import QuantizedModel
from hwdse.task import Recipe
from hwdse.tasks.digits import Digits
from hwdse.training import Allocator, Trained, train_float, train_quantized
from hwdse.workbench import Workbench

RECIPE = Recipe(epochs=3, lr=0.02, accumulate=1)
MAKERS: dict[str, Callable[[], Allocator]] = {
    "uniform": lambda: Uniform(LayerFormat.of(4, 4)),
    "qbitopt": lambda: QBitOpt(tau=5),
    "adq": lambda: ADQ(tau=5),
    "adaqat": AdaQAT,
}


def trained(
    bench: Workbench, allocator: Allocator, path: Path | None = None, stop: int | None = None, recipe: Recipe = RECIPE
) -> tuple[Trained, QuantizedModel]:
    torch.manual_seed(0)
    model = bench.quantized(allocator.scheme)
    problem = bench.problem("weights <= 60% of w8a8", target="npu", scheme=allocator.scheme)

    def progress(done: int, total: int) -> None:
        if done == stop:
            raise KeyboardInterrupt

    return train_quantized(
        model, bench.task, problem, allocator, recipe, seed=1, progress=progress, checkpoint=path, interval=0
    ), model  # fmt: skip


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name == "adq")) for name in MAKERS])
@pytest.mark.parametrize("stop", [7, pytest.param(24, marks=pytest.mark.slow)])
def test_a_training_cut_short_goes_on_to_the_same_result(bench: Workbench, tmp_path: Path, name: str, stop: int) -> None:
    straight, whole = trained(bench, MAKERS[name]())
    path = tmp_path / "training.partial"
    with pytest.raises(KeyboardInterrupt):
        trained(bench, MAKERS[name](), path, stop)
    assert path.exists()
    torch.manual_seed(12345)  # whatever the new process did before
    resumed, model = trained(bench, MAKERS[name](), path)
    assert resumed.solution.allocation == straight.solution.allocation
    assert resumed.trace == straight.trace
    assert resumed.losses == straight.losses
    for (key, mine), theirs in zip(model.network.state_dict().items(), whole.network.state_dict().values(), strict=True):
        if isinstance(mine, torch.Tensor):
            assert torch.equal(mine, theirs), key
    assert resumed.earlier > 0 == straight.earlier
    assert path.exists()  # until the caller has stored the result


def test_the_state_on_disk_is_behind_by_no_step(bench: Workbench, tmp_path: Path) -> None:
    """Stopped before the first write, there is nothing to go on from, and nothing half-written."""
    with pytest.raises(KeyboardInterrupt):
        trained(bench, Uniform(LayerFormat.of(4, 4)), tmp_path / "a", stop=1)
    assert not list(tmp_path.iterdir())


def test_checkpoints_of_another_training_are_refused_and_kept(bench: Workbench, tmp_path: Path) -> None:
    path = tmp_path / "training.partial"
    with pytest.raises(KeyboardInterrupt):
        trained(bench, Uniform(LayerFormat.of(4, 4)), path, 3)
    before = path.read_bytes()
    with pytest.raises(FileFormatError, match=r"allocator is 'Uniform', here 'QBitOpt'.*Remove it"):
        trained(bench, QBitOpt(), path)
    with pytest.raises(FileFormatError, match="recipe is"):
        trained(bench, Uniform(LayerFormat.of(4, 4)), path, recipe=replace(RECIPE, lr=0.1))
    assert path.read_bytes() == before
    path.write_bytes(before[: len(before) // 2])
    with pytest.raises(FileFormatError, match="was changed since it was written"):
        trained(bench, Uniform(LayerFormat.of(4, 4)), path)
    buffer = io.BytesIO()
    torch.save({"weights": torch.ones(2)}, buffer)
    path.write_bytes(sealed(buffer.getvalue()))
    with pytest.raises(FileFormatError, match=r"no checkpoint of the schema hwdse\.training/1"):
        trained(bench, Uniform(LayerFormat.of(4, 4)), path)


def test_one_flipped_bit_is_another_file_and_its_training_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "training.partial"
    Checkpoint(path, {}).save({"weights": torch.arange(100.0)})
    assert not drop_damaged(path)
    content = bytearray(path.read_bytes())
    content[content.index(torch.arange(100.0).numpy().tobytes()) + 30] ^= 4  # a weight: torch reads it without a word
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match="was changed since it was written"):
        Checkpoint(path, {}).load()
    assert drop_damaged(path)
    assert not path.exists()
    assert not drop_damaged(path)


def test_other_costs_are_another_training(bench: Workbench, tmp_path: Path) -> None:
    """A corrected accelerator file must not go on to an allocation that the old one allowed."""
    path = tmp_path / "training.partial"
    with pytest.raises(KeyboardInterrupt):
        trained(bench, QBitOpt(tau=5), path, 7)
    problem = bench.problem("weights <= 60% of w8a8", target="npu")
    dearer = replace(problem, costs=tuple(replace(t, cells=t.cells * 1.1) for t in problem.costs))
    with pytest.raises(FileFormatError, match="tables is"):
        train_quantized(bench.quantized(), bench.task, dearer, QBitOpt(tau=5), RECIPE, seed=1, checkpoint=path)
    with pytest.raises(FileFormatError, match="settings is"):
        trained(bench, QBitOpt(tau=6), path)


def test_batches_that_run_short_are_an_error_not_a_loop(bench: Workbench) -> None:
    class Short(Digits):
        def batches(self, split: Any, seed: int) -> Any:
            if split != "train":
                return super().batches(split, seed)
            return Pass(list(super().batches(split, seed)))

    class Pass(list[Any]):
        def __len__(self) -> int:
            return 40  # there are 12

    with pytest.raises(TaskError, match="fewer batches than the 40"):
        train_quantized(bench.quantized(), Short(), bench.problem(), Uniform(LayerFormat.of(4, 4)), Recipe(epochs=1), seed=0)


@dataclasses.dataclass
class Augmented(Digits):
    """Batches in an order, and with augmentations, that come from everyone's random numbers as they are drawn."""

    def batches(self, split: Any, seed: int) -> Any:
        made = list(super().batches(split, seed))
        if split != "train":
            return made
        return self.drawn(made)

    def drawn(self, made: list[Any]) -> Any:
        for i in torch.randperm(len(made)).tolist():
            inputs, target = made[i]
            yield inputs + 0.1 * torch.rand_like(inputs) + 0.1 * random.random() + 0.1 * np.random.random(), target


@pytest.mark.parametrize("accumulate", [1, 3])
def test_batches_that_draw_random_numbers_go_on_as_they_would_have(bench: Workbench, tmp_path: Path, accumulate: int) -> None:
    recipe, path = replace(RECIPE, accumulate=accumulate), tmp_path / "training.partial"

    def losses(stop: int | None = None) -> tuple[float, ...]:
        def progress(done: int, total: int) -> None:
            if done == stop:
                raise KeyboardInterrupt

        torch.manual_seed(1)
        random.seed(1)
        np.random.seed(1)
        model, problem = bench.quantized(), bench.problem("weights <= 60% of w8a8", target="npu")
        return train_quantized(
            model, Augmented(), problem, Uniform(LayerFormat.of(4, 4)), recipe, seed=1, progress=progress, checkpoint=path, interval=0
        ).losses

    straight = losses()
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        losses(stop=len(straight) // 3 + 2)
    assert losses() == straight


def test_the_fp32_training_goes_on_too(tmp_path: Path) -> None:
    task, recipe, path = Digits(), Recipe(epochs=2, lr=0.05), tmp_path / "fp32.partial"

    def weights(stop: int | None = None) -> list[torch.Tensor]:
        def progress(done: int, total: int) -> None:
            if done == stop:
                raise KeyboardInterrupt

        torch.manual_seed(0)
        network = task.model()
        with patch("hwdse.training.Checkpoint", partial(Checkpoint, interval=0)):
            train_float(network, task, recipe, 0, progress, path)
        return [*network.state_dict().values()]

    straight = weights()
    path.unlink()
    with pytest.raises(KeyboardInterrupt):
        weights(stop=15)
    assert all(torch.equal(a, b) for a, b in zip(weights(), straight, strict=True))


def test_a_full_disk_costs_the_checkpoint_not_the_training(bench: Workbench, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done, _ = trained(bench, Uniform(LayerFormat.of(4, 4)), tmp_path / "file" / "training.partial")
    assert len(done.losses) > 0
    assert any("an interruption would have lost the training" in note and "cannot write" in note for note in done.notes)
