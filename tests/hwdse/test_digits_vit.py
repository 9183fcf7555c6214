"""The embedded transformer: its forward pass by hand, what of it takes widths, and every allocator on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from commands import hwdse, task_file
from torch import Tensor, nn
from torch.nn import functional as F

from hwdse.allocators import ALLOCATORS, make_allocator
from hwdse.costmodels import cost_model
from hwdse.evaluation import evaluate
from hwdse.task import Recipe
from hwdse.tasks.digits_vit import MEAN, STD, DigitsTransformer, DigitsViT
from hwdse.trace import trace
from hwdse.training import train_quantized
from hwdse.workbench import Workbench

pytestmark = pytest.mark.numeric

FINETUNE = Recipe(epochs=1, lr=0.01)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Workbench:
    models = [cost_model("bitops"), cost_model("weights"), cost_model("average_bits", of="both")]
    return Workbench(DigitsViT(), cost_models=models, cache=tmp_path_factory.mktemp("cache"))


def linears(network: nn.Module) -> list[str]:
    return [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]


def by_hand(network: DigitsTransformer, image: Tensor) -> Tensor:
    """Logits of one (8, 8) image, head by head, with loops and softmax written out."""

    def linear(layer: nn.Linear, x: Tensor) -> Tensor:
        return x @ layer.weight.T + layer.bias

    def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        return centred / (centred.pow(2).mean(1, keepdim=True) + layer.eps).sqrt() * layer.weight + layer.bias

    pixels = (image - MEAN) / STD
    patches = torch.stack([pixels[r : r + 2, c : c + 2].flatten() for r in range(0, 8, 2) for c in range(0, 8, 2)])
    x = linear(network.embed, patches) + network.position
    for block in network.blocks:
        y = norm(block.norm1, x)
        query, key, value = (linear(layer, y) for layer in (block.query, block.key, block.value))
        size = query.shape[1] // block.heads
        heads = []
        for h in range(block.heads):
            part = slice(h * size, (h + 1) * size)
            scores = torch.exp(query[:, part] @ key[:, part].T / size**0.5)
            heads.append(scores / scores.sum(1, keepdim=True) @ value[:, part])
        x = x + linear(block.proj, torch.cat(heads, 1))
        x = x + linear(block.down, F.gelu(linear(block.up, norm(block.norm2, x))))
    return linear(network.head, norm(network.norm, x).mean(0))


def test_the_network_is_the_transformer_it_says_it_is() -> None:
    torch.manual_seed(0)
    network = DigitsTransformer().double()
    images = torch.rand(3, 1, 8, 8, dtype=torch.float64)
    for norm in (m for m in network.modules() if isinstance(m, nn.LayerNorm)):
        nn.init.uniform_(norm.weight)
        nn.init.uniform_(norm.bias)
    expected = torch.stack([by_hand(network, image[0]) for image in images])
    torch.testing.assert_close(network(images), expected, rtol=1e-9, atol=1e-9)
    assert 30_000 <= sum(p.numel() for p in network.parameters()) <= 60_000


def test_pixels_are_standardised() -> None:
    pixels = DigitsViT()._splits["train"][0]
    assert pytest.approx(float(pixels.mean()), abs=0.005) == MEAN
    assert pytest.approx(float(pixels.std()), abs=0.005) == STD


def test_every_linear_takes_widths_and_the_products_of_attention_take_none() -> None:
    network = DigitsTransformer(width=24, depth=2, heads=3)
    graph = trace(network, DigitsViT().example_inputs())
    assert [layer.name for layer in graph.quantisable] == linears(network)
    for layer in graph.quantisable:
        module = network.get_submodule(layer.name)
        assert layer.macs == (1 if layer.name == "head" else 16) * module.in_features * module.out_features
    attention = [layer for layer in graph.layers if not layer.quantisable]
    assert [(layer.name, layer.kind, layer.macs) for layer in attention] == [
        (f"blocks.{i}/attention", "attention", 2 * 16 * 16 * 24) for i in range(2)
    ]
    assert set(graph.activation_ties) == {tuple(f"blocks.{i}.{part}" for part in ("query", "key", "value")) for i in range(2)}
    assert [lost.name for lost in graph.left_out] == ["position"]


def test_the_costs_say_that_attention_runs_in_floating_point(bench: Workbench) -> None:
    for table in bench.tables.values():
        said = [note for note in table.notes if "run in floating point" in note]
        assert len(said) == 1
        assert "blocks.0/attention, blocks.1/attention, blocks.2/attention" in said[0]


def test_each_linear_sees_as_many_values_as_its_widths_allow(bench: Workbench) -> None:
    model = bench.quantized()
    model.observe([((torch.rand(4, 1, 8, 8),), None)])
    model.set(bench.choices.uniform(bench.choices.options[0]), calibrate=True)  # w2a2, ends at w8a8
    seen: dict[str, tuple[int, int]] = {}

    def count(name: str):  # type: ignore[no-untyped-def]
        def hook(module: nn.Linear, args: tuple[Tensor, ...]) -> None:
            seen[name] = len(module.weight.unique()), len(args[0].unique())

        return hook

    handles = [model.network.get_submodule(name).register_forward_pre_hook(count(name)) for name in model.layers]
    with torch.no_grad():
        model.network(torch.rand(4, 1, 8, 8))
    for handle in handles:
        handle.remove()
    assert list(seen) == linears(DigitsTransformer())
    for name in list(seen)[1:-1]:
        assert 2 <= seen[name][0] <= 4
        assert 2 <= seen[name][1] <= 4


@pytest.mark.parametrize("epochs", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", list(ALLOCATORS))
def test_every_allocator_keeps_the_budget_and_the_accuracy(bench: Workbench, name: str, epochs: int) -> None:
    allocator = make_allocator(name)
    scheme = allocator.scheme if epochs else allocator.scheme.post_training()[0]
    problem = bench.problem("average_bits <= 100% of w5a5", scheme=scheme)
    torch.manual_seed(0)
    model = bench.quantized(scheme)
    before = {layer: model.weight_of(layer).detach().clone() for layer in model.layers}
    trained = train_quantized(model, bench.task, problem, allocator, replace(FINETUNE, epochs=epochs), seed=0)
    assert trained.solution.costs["average_bits"] <= problem.budget.constraints[0].limit * (1 + 1e-12)
    assert model.allocation == trained.solution.allocation
    moved = [layer for layer in model.layers if not torch.equal(before[layer], model.weight_of(layer))]
    assert moved == (list(model.layers) if epochs else [])
    assert evaluate(model.network, bench.task, "validation").mean >= bench.reference["validation"] - 0.1


@pytest.mark.slow
def test_the_commands_know_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = hwdse("profile", "digits_vit")
    assert "23 counted layers" in shown.text
    assert "Counted at a fixed width" in shown.text
    assert "blocks.0/attention, blocks.1/attention, blocks.2/attention" in shown.text
    quick = (
        "from hwdse.tasks.digits_vit import DigitsViT\n"
        "class Quick(DigitsViT):\n    recipes = Recipes(Recipe(epochs=2, lr=0.03), Recipe(epochs=1, lr=0.01))\n"
    )
    task = task_file(tmp_path, quick, of="Quick")
    scored = hwdse("sensitivity", task, "--figure", "scores.png")
    assert scored.code == 0
    assert all(name in scored.text for name in linears(DigitsTransformer()))
    assert (tmp_path / "scores.png").stat().st_size > 1000
    found = hwdse("allocate", task, "-b", "bitops <= 40% of w8a8", "--epochs", "1")
    assert found.code == 0, found.err
    assert "Measured accuracy on the validation split" in found.text
