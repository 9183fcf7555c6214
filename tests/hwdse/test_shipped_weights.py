"""The weights that come with the embedded tasks: what they score, and who gets them; and weights that a user's task gives."""

from __future__ import annotations

import runpy
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hwdse import workbench
from hwdse.errors import TaskError
from hwdse.evaluation import evaluate
from hwdse.storage import read_checkpoint
from hwdse.task import Recipe, Recipes, Task, fingerprint, pretrained_of
from hwdse.tasks import load_task, shipped
from hwdse.tasks.digits import Digits, DigitsNet
from hwdse.tasks.digits_vit import DigitsViT
from hwdse.tasks.shipped import SHA256, weights_file
from hwdse.workbench import Workbench

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "shipped_weights.py"


def network_of(task: Task, state: Mapping[str, Tensor]) -> nn.Module:
    network = task.model()
    network.load_state_dict(state)
    return network.eval()


@pytest.fixture
def untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network was trained")

    monkeypatch.setattr(workbench, "train_float", refuse)


@pytest.mark.numeric
@pytest.mark.parametrize("name", SHA256)
def test_the_embedded_tasks_come_trained(name: str, untrained: None) -> None:
    bench = Workbench(load_task(name), cache=None)
    assert bench.weights_from == "the task's pretrained(0): trained before, not here"
    assert bench.provenance()["weights_from"] == bench.weights_from
    assert bench.reference["validation"] >= 0.97
    assert bench.reference["test"] >= 0.97
    fresh = evaluate(load_task(name).model().eval(), bench.task, "validation")
    assert fresh.mean < 0.5  # model() itself stays what training from scratch begins with


def test_another_seed_is_trained() -> None:
    assert Digits().pretrained(1) is None
    assert Workbench(Digits(), seed=1, cache=None).weights_from == "trained here by the task's recipe: 40 epochs, seed 1"


class OtherModel(Digits):
    def model(self) -> nn.Module:
        network = DigitsNet()
        network.head = nn.Sequential(nn.Linear(36, 10))  # type: ignore[assignment]  # other keys
        return network


class SameShapes(Digits):
    def model(self) -> nn.Module:
        return Scaled()


class Scaled(DigitsNet):
    """The same keys and shapes, another function."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * 3)


class OtherData(Digits):
    batch_size = 32


class OtherRecipe(DigitsViT):
    recipes = Recipes(scratch=Recipe(epochs=1))


class OnlyRenamed(Digits):
    name = "mine"


@pytest.mark.parametrize("task", [OtherModel(), SameShapes(), OtherData(), OtherRecipe(), OnlyRenamed()], ids=lambda t: type(t).__name__)
def test_what_is_derived_from_an_embedded_task_trains_its_own(task: Task) -> None:
    assert pretrained_of(task, 0) is None
    assert Workbench(task, cache=None).weights_from.startswith("trained here")


def test_a_derived_task_is_trained_indeed() -> None:
    class Short(SameShapes):
        recipes = Recipes(scratch=Recipe(epochs=1, lr=0.05))

    made, given = Workbench(Short(), cache=None), Digits().pretrained(0)
    assert given is not None
    found = made.network().state_dict()
    assert found.keys() == given.keys()
    assert not torch.equal(found["stem.weight"], given["stem.weight"])
    assert made.reference["validation"] < 0.97


def test_an_instance_with_settings_of_its_own_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    task = Digits()
    list(task.batches("validation", 0))  # the data are no setting
    assert task.pretrained(0) is not None
    task.batch_size = 32
    assert task.pretrained(0) is None
    monkeypatch.setattr(Digits, "recipes", replace(Digits.recipes, scratch=replace(Digits.recipes.scratch, epochs=1)))
    assert Digits().pretrained(0) is None


def test_a_damaged_or_absent_file_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray((shipped.FOLDER / "digits.pt").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "digits.pt").write_bytes(content)
    monkeypatch.setattr(shipped, "FOLDER", tmp_path)
    with pytest.raises(TaskError, match=r"digits\.pt are damaged: .* Install hwdse again"):
        Digits().pretrained(0)
    with pytest.raises(TaskError, match=r"cannot read its trained weights .*digits_vit\.pt"):
        DigitsViT().pretrained(0)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "digits")) for n in SHA256])
def test_the_script_makes_what_is_shipped(name: str) -> None:
    """With a tenth of the epochs: the keys and shapes of the file, and a network that has learnt."""
    script: dict[str, Any] = runpy.run_path(str(SCRIPT))
    whole = load_task(name)
    task = load_task(name)
    recipe = whole.recipes.scratch  # type: ignore[attr-defined]  # both have recipes
    task.recipes = Recipes(scratch=replace(recipe, epochs=recipe.epochs // 10))  # type: ignore[attr-defined]
    state = read_checkpoint(weights_file(task, script["trained"](task)))["state"]
    given = pretrained_of(whole, 0)
    assert given is not None
    assert {key: value.shape for key, value in state.items()} == {key: value.shape for key, value in given.items()}
    assert evaluate(network_of(task, state), task, "validation").mean > 0.3


class Own(Digits):
    """A user's task that gives weights: those of a network at random, to be known again."""

    name = "own"

    def pretrained(self, seed: int) -> Mapping[str, Tensor] | None:
        torch.manual_seed(100 + seed)
        return self.model().state_dict()


def test_a_users_task_gives_its_weights(untrained: None) -> None:
    for seed in (0, 1):
        made, given = Workbench(Own(), seed=seed, cache=None), Own().pretrained(seed)
        assert given is not None
        assert all(torch.equal(value, given[key]) for key, value in made.network().state_dict().items())


def test_given_weights_that_do_not_fit_are_refused() -> None:
    class Misfit(Own):
        def pretrained(self, seed: int) -> Mapping[str, Tensor] | None:
            return {**DigitsNet(wide=40).state_dict(), "more": torch.zeros(1)}

    made = Workbench(Misfit(), cache=None)
    with pytest.raises(TaskError, match=r"pretrained\(0\) gives the weights of another network than model\(\): .*more.*Give the weights"):
        made.network()


def test_a_model_of_its_own_does_not_inherit_weights() -> None:
    class Derived(Own):
        def model(self) -> nn.Module:
            return Scaled()

    class Both(Derived):
        def pretrained(self, seed: int) -> Mapping[str, Tensor] | None:
            return Scaled().state_dict()

    assert pretrained_of(Own(), 0) is not None
    assert pretrained_of(Derived(), 0) is None
    assert pretrained_of(Both(), 0) is not None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (True, "'pretrained' must be a method, pretrained(seed) -> state dict or None, got bool"),
        (lambda self, seed: [1], "pretrained(0) must give a state dict or None, got list"),
        (lambda self, seed: {1: torch.zeros(1)}, "pretrained(0) must give a state dict or None, got dict"),
    ],
)
def test_what_is_no_state_dict_is_refused(value: Any, said: str) -> None:
    task = type("Odd", (Own,), {"pretrained": value})()
    with pytest.raises(TaskError) as error:
        pretrained_of(task, 0)
    assert said in str(error.value)


def test_the_weights_are_no_part_of_the_task_that_keys_are_made_of() -> None:
    task = Digits()
    before = fingerprint(task)
    task.pretrained(0)
    assert fingerprint(task) == before
