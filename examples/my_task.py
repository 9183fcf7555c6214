"""Your own model and data: a class of about 20 lines. Try: hwdse profile examples.my_task:Waves"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwdse.metrics import Metric


class Waves:
    """Which of four frequencies is in a noisy signal? A 1-D convolutional network on synthetic data; put your own in its place."""

    name = "waves"
    metric = Metric("accuracy", "fraction", "higher")  # what is reported, its unit, which direction is better

    def model(self) -> nn.Module:
        """The network. Add ``trained = True`` to the class where it comes with trained weights; else it is trained first."""
        return nn.Sequential(
            nn.Conv1d(1, 16, 9, stride=2, padding=4), nn.BatchNorm1d(16), nn.ReLU(),
            nn.Conv1d(16, 32, 5, stride=2, padding=2), nn.BatchNorm1d(32), nn.ReLU(),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(32, 4),
        )  # fmt: skip

    def example_inputs(self) -> tuple[Tensor, ...]:
        """One input: costs are given for this batch size."""
        return (torch.zeros(1, 1, 64),)

    def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
        """(inputs, target) batches of a split: train, calibration, validation or test. Only train looks at the seed."""
        number = {"train": 16 + seed, "calibration": 1, "validation": 2, "test": 3}[split]
        random = torch.Generator().manual_seed(number)
        label = torch.randint(0, 4, (512,), generator=random)
        time = torch.arange(64) / 64
        signal = torch.sin(2 * torch.pi * (4 + label[:, None]) * time + 6.28 * torch.rand(512, 1, generator=random))
        noisy = signal + 0.6 * torch.randn(512, 64, generator=random)
        return list(zip(noisy[:, None].split(64), label.split(64), strict=True))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Scalar: the mean over the batch."""
        return F.cross_entropy(output, target)

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        """One number per sample; the score is their mean."""
        return (output.argmax(1) == target).float()
