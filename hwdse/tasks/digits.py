"""The embedded task: scikit-learn's 1,797 real handwritten digits, 8 x 8 pixels, ten classes.

Source: E. Alpaydin, C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998 (CC BY 4.0), as
distributed with scikit-learn. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..metrics import Metric
from ..task import Recipe, Recipes, Split
from .shipped import shipped_weights

# Fixed split of a fixed permutation: validation picks, the test split is looked at once, at the end.
SIZES: dict[Split, int] = {"train": 800, "calibration": 97, "validation": 450, "test": 450}


class Residual(nn.Module):
    """Two 3 x 3 convolutions with batch norm around an identity shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> the same shape."""
        return F.relu(x + self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))


class DigitsNet(nn.Module):
    """Residual network with a depthwise-separable downsampling layer, about 30 thousand parameters."""

    def __init__(self, narrow: int = 20, wide: int = 36) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, narrow, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(narrow)
        self.block1 = Residual(narrow)
        self.depthwise = nn.Conv2d(narrow, narrow, 3, stride=2, padding=1, groups=narrow, bias=False)
        self.bn_depthwise = nn.BatchNorm2d(narrow)
        self.pointwise = nn.Conv2d(narrow, wide, 1, bias=False)
        self.bn_pointwise = nn.BatchNorm2d(wide)
        self.block2 = Residual(wide)
        self.head = nn.Linear(wide, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) -> (N, 10) logits."""
        x = self.block1(F.relu(self.bn(self.stem(x))))
        x = F.relu(self.bn_depthwise(self.depthwise(x)))
        x = self.block2(F.relu(self.bn_pointwise(self.pointwise(x))))
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


class Digits:
    """Task ``digits``. Training images are shifted by up to one pixel; the others are left as they are."""

    name = "digits"
    metric = Metric("accuracy", "fraction", "higher")
    recipes = Recipes(
        scratch=Recipe(epochs=40, lr=0.05, quantizer_lr=1e-2, weight_decay=2e-3, warmup=0.1),
        finetune=Recipe(epochs=5, lr=0.02, weight_decay=1e-4),
    )
    batch_size = 64

    @cached_property
    def _splits(self) -> dict[Split, tuple[Tensor, Tensor]]:
        from sklearn.datasets import load_digits

        data = load_digits()
        order = np.random.default_rng(20240416).permutation(len(data.target))
        images = torch.tensor(data.images[order], dtype=torch.float32).unsqueeze(1) / 16  # pixels 0..16 -> 0..1
        labels = torch.tensor(data.target[order], dtype=torch.long)
        found: dict[Split, tuple[Tensor, Tensor]] = {}
        start = 0
        for split, size in SIZES.items():
            found[split] = (images[start : start + size], labels[start : start + size])
            start += size
        return found

    def model(self) -> nn.Module:
        """A freshly initialised :class:`DigitsNet`."""
        return DigitsNet()

    def pretrained(self, seed: int) -> Mapping[str, Tensor] | None:
        """The weights that come with hwdse; None for another seed, and for what is changed or derived: it is trained."""
        return shipped_weights(self, Digits, seed)

    def example_inputs(self) -> tuple[Tensor, ...]:
        """One image: costs are given for batch 1."""
        return (torch.zeros(1, 1, 8, 8),)

    def batches(self, split: Split, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Training: batches of 64, shuffled and shifted, the last partial one dropped. Calibration: of 8, see :meth:`Task.batches`."""
        images, labels = self._splits[split]
        if split != "train":
            size = 8 if split == "calibration" else 256
            yield from zip(torch.split(images, size), torch.split(labels, size), strict=True)
            return
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(labels), generator=generator)
        shifts = torch.randint(0, 3, (len(labels), 2), generator=generator).tolist()
        padded = F.pad(images, (1, 1, 1, 1))
        for chosen in torch.split(order, self.batch_size):
            if len(chosen) == self.batch_size:
                moved = [padded[i, :, (s := shifts[i])[0] : s[0] + 8, s[1] : s[1] + 8] for i in chosen.tolist()]
                yield torch.stack(moved), labels[chosen]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross entropy, nats."""
        return F.cross_entropy(output, target)

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        """1 where the largest logit is the label, else 0."""
        return (output.argmax(1) == target).float()
