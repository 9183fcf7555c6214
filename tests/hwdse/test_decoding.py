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


class Flat(nn.Module):
    """Rows of tokens flattened into one dimension, cross-attention over encoder states, and a head on the last token."""

    def __init__(self) -> None:
        super().__init__()
        self.flat, self.kv, self.q, self.head = nn.Linear(24, 24), nn.Linear(24, 48), nn.Linear(24, 24), nn.Linear(24, 5)
        self.block = Block(False)

    def forward(self, x: Tensor, states: Tensor) -> Tensor:
        b, t, c = x.shape
        x = self.block(self.flat(x.reshape(b * t, c)).reshape(b, t, c))
        k, v = self.kv(states).chunk(2, -1)
        x = F.scaled_dot_product_attention(self.q(x)[:, None], k[:, None], v[:, None])[:, 0]
        return self.head(x[:, -1])


def test_flattened_rows_cross_attention_and_heads() -> None:
    graph = trace(Flat(), (torch.zeros(2, 7, 24), torch.zeros(2, 50, 24)))
    step = decode_step(graph, 30)
    assert step["flat"].macs * 7 == graph["flat"].macs
    assert step["flat"].input_shape == (2, 24)
    cross = [x for x in step.layers if x.kind == "attention"][1]
    assert cross.other_shape == (2, 1, 50, 24)
    assert cross.macs == 2 * 50 * 48
    assert step["head"] == graph["head"]
    assert [item.name for item in step.left_out] == ["kv"]  # over encoder states: once per prompt, and said


def test_what_goes_over_tokens_in_another_way_is_named() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.block = nn.Conv1d(24, 24, 3, padding=1), Block(False)

        def forward(self, x: Tensor) -> Tensor:
            return self.block(self.conv(x.transpose(1, 2)).transpose(1, 2))

    step = decode_step(trace(Mixed(), (torch.zeros(1, 7, 24),)), 10)
    assert [item.name for item in step.left_out] == ["conv"]
    assert "counted as traced, not for one token" in step.left_out[0].reason
