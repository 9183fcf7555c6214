"""The embedded transformer: a small vision transformer on the digits of :mod:`hwdse.tasks.digits`. Nothing is downloaded.

Dosovitskiy et al., "An Image is Worth 16x16 Words", arXiv 2010.11929, at 2 x 2 pixels a token, with the mean of the tokens in place of
the class token (Zhai et al., arXiv 2106.04560, section 3.4).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..task import Recipe, Recipes
from .digits import Digits
from .shipped import shipped_weights

MEAN, STD = 0.305, 0.376  # of the training pixels
PATCH, TOKENS = 2, 16


class Block(nn.Module):
    """Pre-norm self-attention and GELU MLP. Its six products with weights are modules of their own, so that each takes widths."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 2 * width)
        self.down = nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(N, tokens, width) -> the same shape."""
        y = self.norm1(x)
        query, key, value = (layer(y).unflatten(2, (self.heads, -1)).transpose(1, 2) for layer in (self.query, self.key, self.value))
        x = x + self.proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        mixed: Tensor = x + self.down(F.gelu(self.up(self.norm2(x))))
        return mixed


class DigitsTransformer(nn.Module):
    """Three blocks of width 40 with four heads: about 40 thousand parameters, 0.7 M MACs."""

    def __init__(self, width: int = 40, depth: int = 3, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Linear(PATCH**2, width)
        self.position = nn.Parameter(0.5 * torch.randn(TOKENS, width))  # as large as the embedded patches, or places are learnt late
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, 8, 8) -> (N, 10) logits."""
        patches = F.pixel_unshuffle((x - MEAN) / STD, PATCH).flatten(2).transpose(1, 2)
        tokens = self.norm(self.blocks(self.embed(patches) + self.position))
        logits: Tensor = self.head(tokens.mean(1))
        return logits


class DigitsViT(Digits):
    """Task ``digits_vit``: data, splits, loss and score of ``digits``."""

    name = "digits_vit"
    recipes = Recipes(
        scratch=Recipe(epochs=240, lr=0.03, weight_decay=1e-3, warmup=0.1),
        finetune=Recipe(epochs=10, lr=0.01, weight_decay=1e-4),
    )

    def model(self) -> nn.Module:
        """A freshly initialised :class:`DigitsTransformer`."""
        return DigitsTransformer()

    def pretrained(self, seed: int) -> Mapping[str, Tensor] | None:
        """As :meth:`Digits.pretrained`."""
        return shipped_weights(self, DigitsViT, seed)
