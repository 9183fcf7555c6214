"""Published BitOPs, each under its own convention."""

from __future__ import annotations

import pytest
import torch
from models import MobileNetV2, ResNet20, resnet18, resnet50
from torch import nn

from hwdse.choices import Choices
from hwdse.costmodels import BitOps
from hwdse.formats import LayerFormat, grid
from hwdse.graph import LayerGraph
from hwdse.trace import trace

IMAGE = (1, 3, 224, 224)
MAKE = {
    "resnet18": (resnet18, IMAGE),
    "resnet50": (lambda: resnet50(v1=True), IMAGE),
    "mobilenet": (MobileNetV2, IMAGE),
    "resnet20": (ResNet20, (1, 3, 32, 32)),
}
_traced: dict[str, LayerGraph] = {}


def graph(name: str) -> LayerGraph:
    if name not in _traced:
        make, shape = MAKE[name]
        with torch.device("meta"):
            model: nn.Module = make()
        _traced[name] = trace(model.eval(), (torch.zeros(shape, device="meta"),))
    return _traced[name]


def uniform(name: str, convention: str, weight: int, activation: int) -> float:
    options = grid([2, 3, 4, 8, 32], [2, 3, 4, 8, 32])
    table = BitOps(convention).tabulate(graph(name), options)
    return table.total({layer: LayerFormat.of(weight, activation) for layer in table.layers}) / 1e9


@pytest.mark.parametrize(
    ("name", "convention", "weight", "activation", "published"),
    [
        ("resnet18", "chosen", 32, 32, "1857.6"),
        ("resnet18", "hawq", 8, 8, "116.1"),
        ("resnet18", "hawq", 4, 4, "34.71"),
        ("resnet50", "hawq", 8, 8, "246.9"),
        ("resnet50", "hawq", 4, 4, "67.5"),
        ("resnet18", "fracbits", 3, 3, "22.83"),
        ("resnet18", "fracbits", 4, 4, "34.70"),
        ("mobilenet", "fracbits", 3, 3, "3.32"),
        ("mobilenet", "fracbits", 4, 4, "5.35"),
        ("resnet20", "adaqat", 3, 4, "0.51"),
        ("resnet18", "adaqat", 4, 4, "35.2"),
    ],
)
def test_published_figures(name: str, convention: str, weight: int, activation: int, published: str) -> None:
    digits = len(published.partition(".")[2])
    assert f"{uniform(name, convention, weight, activation):.{digits}f}" == published


def test_pins_and_the_hawq_rule_agree() -> None:
    traced = graph("resnet18")
    choices = Choices.of(traced, [4], [4])
    pinned = BitOps().tabulate(traced, choices.options).total(choices.uniform(LayerFormat.of(4, 4)))
    assert pinned / 1e9 == pytest.approx(uniform("resnet18", "hawq", 4, 4), rel=1e-12)


def test_the_table_says_what_it_covers() -> None:
    table = BitOps("adaqat").tabulate(graph("resnet18"), grid([4], [4]))
    assert "first layer w8a8, last layer floating point; floating point is 32 bits" in table.convention
    assert "chosen for 100.00% of the 1,814,073,344 counted MACs" in table.notes[0]
