"""CIFAR-10 from the user's own copy, with ResNet-20: the network and data on which the allocators' papers report.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009; He et al., "Deep Residual Learning for Image Recognition",
CVPR 2016, section 4.2 (shortcuts without parameters). Nothing is downloaded: ``HWDSE_CIFAR10`` names the folder of the binary version
(``cifar-10-batches-bin``, from https://www.cs.toronto.edu/~kriz/cifar.html), ``HWDSE_CIFAR10_WEIGHTS`` optionally a state dict of the
trained network; without it the network is trained first, which takes hours on a CPU.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import TaskError
from ..metrics import Metric
from ..storage import read_checkpoint
from ..task import Recipe, Recipes, Split

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of the public ResNet-20 weights
VALIDATION, CALIBRATION = 5_000, 512  # images held out of, and taken from, the training files
_RECORD = 1 + 3 * 32 * 32  # bytes: a label, then the red, green and blue planes


class Block(nn.Module):
    """Two 3 x 3 convolutions around a shortcut that subsamples and pads with zero channels (option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, outputs, H / stride, W / stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.added:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added // 2, self.added // 2))
        return F.relu(x + y)


class ResNet20(nn.Module):
    """Three stages of three blocks with 16, 32 and 64 channels: 0.27 M parameters, 40.6 M MACs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(Block(16, 16, 1), Block(16, 16, 1), Block(16, 16, 1))
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.linear = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, 32, 32) -> (N, 10) logits."""
        x = self.layer3(self.layer2(self.layer1(F.relu(self.bn1(self.conv1(x))))))
        logits: Tensor = self.linear(x.mean((2, 3)))
        return logits


class Cifar10:
    """Task ``cifar10``. The last 5,000 training images are the validation split, 512 of the others the calibration split.

    Args:
        folder: holds ``data_batch_1.bin`` ... ``test_batch.bin``; default ``$HWDSE_CIFAR10``.
        weights: a state dict of :class:`ResNet20`; default ``$HWDSE_CIFAR10_WEIGHTS``, or none.
        whole: train on all 50,000 images; the validation images are then among them, so validation scores pick nothing.
    """

    name = "cifar10"
    metric = Metric("accuracy", "fraction", "higher")
    recipes = Recipes(
        scratch=Recipe(epochs=200, lr=0.1, weight_decay=1e-4, warmup=0.01),
        finetune=Recipe(epochs=4, lr=0.01, weight_decay=1e-4, warmup=0.05),
    )
    batch_size = 128

    def __init__(self, folder: str | Path | None = None, weights: str | Path | None = None, whole: bool = False) -> None:
        self.folder = str(folder or os.environ.get("HWDSE_CIFAR10", ""))
        self.weights = str(weights or os.environ.get("HWDSE_CIFAR10_WEIGHTS", ""))
        self.whole = whole
        self.trained = bool(self.weights)
        if not self.folder:
            raise TaskError(
                "task cifar10 needs the data: set HWDSE_CIFAR10 to the folder cifar-10-batches-bin "
                "(the binary version from https://www.cs.toronto.edu/~kriz/cifar.html)."
            )

    def _read(self, *names: str) -> tuple[Tensor, Tensor]:
        """(n, 3, 32, 32) pixels as bytes, and (n,) labels."""
        parts = []
        for name in names:
            path = Path(self.folder) / name
            try:
                content = np.fromfile(path, np.uint8)
            except OSError as error:
                raise TaskError(f"task cifar10: cannot read {path}: {error.strerror or error}.") from None
            if not content.size or content.size % _RECORD:
                raise TaskError(f"task cifar10: {path} must hold records of {_RECORD} bytes, got {content.size} bytes in all.")
            parts.append(content.reshape(-1, _RECORD))
        records = np.concatenate(parts)
        if records[:, 0].max() > 9:
            raise TaskError(f"task cifar10: {self.folder} has the label {records[:, 0].max()}; CIFAR-10 has 0 to 9.")
        return torch.from_numpy(records[:, 1:].reshape(-1, 3, 32, 32).copy()), torch.from_numpy(records[:, 0].astype(np.int64))

    @cached_property
    def _splits(self) -> dict[Split, tuple[Tensor, Tensor]]:
        images, labels = self._read(*(f"data_batch_{n}.bin" for n in range(1, 6)))
        if len(images) <= VALIDATION + CALIBRATION:
            raise TaskError(f"task cifar10: {self.folder} has {len(images)} training images; more than 5,512 are needed.")
        kept = len(images) - VALIDATION
        chosen = torch.randperm(kept, generator=torch.Generator().manual_seed(0))[:CALIBRATION]
        train = (images, labels) if self.whole else (images[:kept], labels[:kept])
        return {
            "train": train,
            "calibration": (images[chosen], labels[chosen]),
            "validation": (images[kept:], labels[kept:]),
            "test": self._read("test_batch.bin"),
        }

    def model(self) -> nn.Module:
        """ResNet-20, with the weights where there are any."""
        network = ResNet20()
        if self.weights:
            path = Path(self.weights)
            try:
                state = read_checkpoint(path.read_bytes(), path)
                network.load_state_dict(state)
            except OSError as error:
                raise TaskError(f"task cifar10: cannot read the weights {path}: {error.strerror or error}.") from None
            except RuntimeError as error:
                raise TaskError(f"task cifar10: {path} holds the weights of another network: {str(error).splitlines()[0]}") from None
        return network

    def example_inputs(self) -> tuple[Tensor, ...]:
        """One image: costs are given for batch 1."""
        return (torch.zeros(1, 3, 32, 32),)

    def batches(self, split: Split, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Training: batches of 128, shuffled, shifted by up to four pixels and mirrored. Calibration: of 8, see :meth:`Task.batches`."""
        images, labels = self._splits[split]
        if split != "train":
            for rows in torch.split(torch.arange(len(labels)), 8 if split == "calibration" else 250):
                yield _normalised(images[rows]), labels[rows]
            return
        generator = torch.Generator().manual_seed(seed)
        for rows in torch.split(torch.randperm(len(labels), generator=generator), self.batch_size):
            if len(rows) == self.batch_size:
                yield _augmented(_normalised(images[rows]), generator), labels[rows]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy, nats."""
        return F.cross_entropy(output, target)

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        """1 where the largest logit is the label, else 0."""
        return (output.argmax(1) == target).float()


def _normalised(pixels: Tensor) -> Tensor:
    return (pixels.float() / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def _augmented(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image shifted within a border of four zeros, half of them mirrored."""
    n, _, height, width = x.shape
    padded = F.pad(x, (4, 4, 4, 4))
    top, left = torch.randint(0, 9, (2, n), generator=generator)
    mirrored = torch.rand(n, generator=generator) < 0.5
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    columns = torch.where(mirrored[:, None], columns.flip(1), columns)
    return padded[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()
