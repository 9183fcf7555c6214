"""Generating a token costs what tracing the model on one token with a cache would."""

from __future__ import annotations

import models
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hwdse.decoding import cache_elements, decode_step
from hwdse.errors import UsageError
from hwdse.graph import LayerGraph
from hwdse.trace import trace


class Block(nn.Module):
    """Attention with a cache of ``past`` keys and values when it is given one token."""

    def __init__(self, spelled_out: bool, past: int = 0) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(24, 24, bias=False) for _ in range(4))
        self.spelled_out, self.past = spelled_out, past

    def heads(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], 2, 12).transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(self.q(x)), self.heads(self.k(x)), self.heads(self.v(x))
        if self.past:
            old = q.new_zeros(q.shape[0], 2, self.past, 12)
            k, v = torch.cat([old, k], 2), torch.cat([old, v], 2)
        y = (q @ k.transpose(-1, -2)).softmax(-1) @ v if self.spelled_out else F.scaled_dot_product_attention(q, k, v)
        return self.o(y.transpose(1, 2).flatten(2))


def kinds(graph: LayerGraph) -> list[tuple[object, ...]]:
    return [(x.kind, x.macs, x.input_shape, x.output_shape, x.other_shape, x.weight_shape) for x in graph.layers]


@pytest.mark.parametrize("spelled_out", [False, True])
@pytest.mark.parametrize("context", [1, 6, 50])
def test_it_equals_the_trace_of_one_token_with_a_cache(spelled_out: bool, context: int) -> None:
    prefill = trace(Block(spelled_out), (torch.zeros(3, 7, 24),))
    one = trace(Block(spelled_out, past=context - 1), (torch.zeros(3, 1, 24),))
    assert kinds(decode_step(prefill, context)) == kinds(one)
    assert cache_elements(prefill, context) == 3 * 2 * context * 12 * 2


def test_grouped_heads_are_kept_once() -> None:
    graph = trace(models.Llama(50, 32, 4, 2, 48, 2), (torch.zeros(1, 9, dtype=torch.long),))
    assert cache_elements(graph, 1000) == 2 * 2 * 2 * 8 * 1000
    step = decode_step(graph, 1000)
    assert sum(x.macs for x in step.layers if x.kind == "linear") * 9 == sum(x.macs for x in graph.layers if x.kind == "linear")
    assert step["embed"].output_shape == (1, 1, 32)


def test_what_cannot_be_decoded_is_said() -> None:
    convolutions = trace(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(72, 3)), (torch.zeros(1, 1, 8, 8),))
    with pytest.raises(UsageError, match="decoding needs a model with attention over tokens"):
        decode_step(convolutions, 10)
    with pytest.raises(UsageError, match="at least 1, got 0"):
        decode_step(trace(Block(False), (torch.zeros(1, 7, 24),)), 0)
    with pytest.raises(UsageError, match="trace with another number of tokens"):
        decode_step(trace(Block(True), (torch.zeros(1, 12, 24),)), 10)
