"""A network that has learnt nothing is told from one that has, whatever the score."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from hwdse.evaluation import evaluate, evaluate_exchanged
from hwdse.intervals import paired_p
from hwdse.metrics import Metric
from hwdse.records import learnt_nothing
from hwdse.tasks.digits import Digits

ACCURACY, ERROR = Metric("accuracy", "fraction", "higher"), Metric("mse", "", "lower")


def _said(metric, network, scores, batches):
    task = SimpleNamespace(name="t", metric=metric, scores=scores, batches=lambda split, seed: batches)
    found = evaluate_exchanged(network, task)
    if found is None:
        return None
    own, other = found
    reference = {
        "validation": own.mean, "validation_own": own.mean, "validation_exchanged": other.mean,
        "validation_exchanged_p": paired_p(own.scores, other.scores), "validation_exchanged_samples": float(own.samples),
    }  # fmt: skip
    return learnt_nothing(metric, reference)


def _right(output, target):
    return (output.argmax(1) == target).float()


class _Fixed(nn.Module):
    """The same output whatever comes in."""

    def __init__(self, classes):
        super().__init__()
        self.out = nn.Parameter(torch.arange(classes).float())

    def forward(self, x):
        return self.out.expand(len(x), -1)


class _Some(nn.Module):
    """Right for a share of the samples: the input holds the class, or a wrong one."""

    def forward(self, x):
        return x


def _batches(share, sort=False, count=400, classes=10):
    random = torch.Generator().manual_seed(0)
    label = torch.randint(0, classes, (count,), generator=random)
    label = label.sort().values if sort else label
    told = torch.where(torch.rand(count, generator=random) < share, label, torch.randint(0, classes, (count,), generator=random))
    return list(zip(nn.functional.one_hot(told, classes).float().split(50), label.split(50), strict=True))


@pytest.mark.parametrize("sort", [False, True])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_what_is_better_than_chance_passes(share, sort):
    assert _said(ACCURACY, _Some(), _right, _batches(share, sort)) == ""


def test_outputs_that_say_nothing_of_the_inputs_are_named():
    for network, share in ((_Fixed(10), 1.0), (_Some(), 0.0)):
        said = _said(ACCURACY, network, _right, _batches(share))
        assert "learnt nothing: its accuracy of " in said
        assert "of other samples' outputs there" in said


def test_a_score_that_is_better_when_lower():
    random = torch.Generator().manual_seed(1)
    y = torch.randn(200, 1, generator=random)
    pairs = list(zip((y + 0.5 * torch.randn(200, 1, generator=random)).split(50), y.split(50), strict=True))

    def squares(output, target):
        return (output - target).square().mean(1)

    assert _said(ERROR, _Some(), squares, pairs) == ""
    noise = list(zip(torch.randn(200, 1, generator=random).split(50), y.split(50), strict=True))
    assert "learnt nothing" in _said(ERROR, _Some(), squares, noise)


def test_a_network_with_one_answer_scores_exactly_the_same_by_others_outputs():
    own, other = evaluate_exchanged(_Fixed(10), SimpleNamespace(name="t", scores=_right, batches=lambda split, seed: _batches(1.0)))
    assert (own.scores == other.scores).all()


def test_what_cannot_be_told_is_not_said_for_certain():
    said = _said(ACCURACY, _Some(), _right, _batches(0.1, count=40))
    assert said.startswith("the FP32 network may have learnt nothing")
    assert "(p = 0." in said
    assert "over 40 validation samples" in said


def test_nothing_is_said_where_it_cannot_be_tried():
    assert _said(ACCURACY, _Fixed(10), _right, _batches(1.0, count=20)) is None  # too few
    ones = [(x[i : i + 1], y[i : i + 1]) for x, y in _batches(1.0) for i in range(len(x))]
    assert _said(ACCURACY, _Some(), _right, ones) is None  # batches of one

    def whole(output, target):
        return (output.sum() - target["offsets"].sum()).expand(50).clone()

    class Summed(nn.Module):
        def forward(self, x):
            return x.sum(0)  # no output for each sample

    graph = [(x, {"offsets": torch.arange(51)}) for x, _ in _batches(1.0)]
    assert _said(ACCURACY, Summed(), whole, graph) is None


def test_a_task_whose_scores_fail_on_others_outputs_is_left_alone():
    def only_own(output, target):
        assert (output.argmax(1) == target).all(), "made for these"
        return torch.ones(len(target))

    assert _said(ACCURACY, _Some(), only_own, _batches(1.0)) is None


@pytest.mark.parametrize("order", ["sorted", "round robin", "random"])
def test_no_order_of_the_classes_hides_anything(order):
    x = torch.arange(400) % 10 if order == "round robin" else torch.arange(400) // 40 if order == "sorted" else torch.randint(0, 10, (400,))
    pairs = list(zip(nn.functional.one_hot(x, 10).float().split(100), x.split(100), strict=True))
    assert _said(ACCURACY, _Some(), _right, pairs) == ""
    assert "has learnt nothing" in _said(ACCURACY, _Fixed(10), _right, pairs)


def test_no_more_samples_are_looked_at_than_are_needed():
    found = evaluate_exchanged(_Some(), SimpleNamespace(name="t", scores=_right, batches=lambda split, seed: _batches(1.0, count=5000)))
    assert found[0].samples == 550


def test_what_a_task_keeps_while_it_is_scored_can_be_trained_on() -> None:
    """The data of the embedded task are read when they are first asked for, and kept."""
    task = Digits()
    network = task.model()
    evaluate(network.eval(), task, "validation")
    for split in ("calibration", "train"):
        (x, target), *_ = task.batches(split, 0)  # type: ignore[arg-type]
        task.loss(network(x.requires_grad_()), target).backward()
        assert x.grad is not None
