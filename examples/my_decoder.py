"""A small language model that generates, as a task. Try: hwdse profile examples.my_decoder:Letters -a npu --decode 4096"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwdse.metrics import Metric

LETTERS, TOKENS, WIDTH, HEADS = 32, 24, 64, 4


class Block(nn.Module):
    """Causal attention and a feed-forward layer, each around a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, WIDTH) -> the same shape."""
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, -1))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Letters:
    """The next of 32 letters, four of five of which follow from the one before; put your own model and text in its place."""

    name = "letters"
    metric = Metric("accuracy", "fraction", "higher")

    def model(self) -> nn.Module:
        """Two blocks. A model of billions of parameters is made on the meta device, and profiled without its weights."""
        return nn.Sequential(nn.Embedding(LETTERS, WIDTH), Block(), Block(), nn.LayerNorm(WIDTH), nn.Linear(WIDTH, LETTERS))

    def example_inputs(self) -> tuple[Tensor, ...]:
        """A prompt; ``--decode`` costs the tokens after one."""
        return (torch.zeros(1, TOKENS, dtype=torch.long),)

    def batches(self, split: str, seed: int) -> list[tuple[Tensor, Tensor]]:
        """(letters, the letters one later)."""
        number = {"train": 16 + seed, "calibration": 1, "validation": 2, "test": 3}[split]
        random = torch.Generator().manual_seed(number)
        text = torch.randint(0, LETTERS, (256, TOKENS + 1), generator=random)
        for i in range(1, TOKENS + 1):
            follows = torch.rand(256, generator=random) < 0.8
            text[:, i] = torch.where(follows, (5 * text[:, i - 1] + 7) % LETTERS, text[:, i])
        return list(zip(text[:, :-1].split(64), text[:, 1:].split(64), strict=True))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Cross-entropy, the mean over letters."""
        return F.cross_entropy(output.flatten(0, 1), target.flatten())

    def scores(self, output: Tensor, target: Tensor) -> Tensor:
        """Share of letters that are right, of each text."""
        return (output.argmax(-1) == target).float().mean(1)
