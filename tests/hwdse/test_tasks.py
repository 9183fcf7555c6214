"""The embedded task, and finding tasks by name."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hwdse.errors import TaskError, UnknownName
from hwdse.task import SPLITS, Task, as_tuple, batches_of, check_task, fingerprint
from hwdse.tasks import TASKS, load_task
from hwdse.tasks.digits import SIZES, Digits
from hwdse.trace import trace
from hwdse.workbench import Workbench

LABELS = "1e503673094351c2"  # of calibration, validation and test, in order


def everything(task: Digits, split: str) -> tuple[Tensor, Tensor]:
    batches = list(task.batches(split, 0))  # type: ignore[arg-type]
    return torch.cat([x for x, _ in batches]), torch.cat([y for _, y in batches])


def test_the_splits_have_their_sizes_and_share_no_image() -> None:
    task = Digits()
    images = {split: task._splits[split][0] for split in SPLITS}
    assert {split: len(x) for split, x in images.items()} == SIZES
    assert sum(SIZES.values()) == 1797
    rows = [tuple(image.flatten().tolist()) for split in SPLITS for image in images[split]]
    assert len(set(rows)) == 1797


def test_the_splits_are_always_the_same() -> None:
    labels = torch.cat([everything(Digits(), split)[1] for split in ("calibration", "validation", "test")])
    assert len(labels) == 997
    assert hashlib.sha256(bytes(labels.tolist())).hexdigest()[:16] == LABELS


def test_the_seed_shuffles_training_and_nothing_else() -> None:
    task = Digits()
    for split in SPLITS:
        first, again, other = (next(iter(task.batches(split, seed)))[0] for seed in (0, 0, 1))
        assert torch.equal(first, again)
        assert torch.equal(first, other) == (split != "train")


def test_the_network_is_small_learns_the_task_and_traces(bench: Workbench) -> None:
    parameters = sum(p.numel() for p in Digits().model().parameters())
    assert 28_000 <= parameters <= 34_000
    assert bench.reference["test"] >= 0.98
    assert bench.reference["validation"] >= 0.98
    assert bench.reference["test_samples"] == SIZES["test"]
    graph = trace(Digits().model(), Digits().example_inputs())
    assert graph.data_flow
    assert not graph.left_out
    assert len(graph.layers) == 8


def test_every_built_in_task_conforms() -> None:
    for name in TASKS:
        task = load_task(name)
        assert isinstance(task, Task)
        assert task.name == name
        output = task.model().eval()(*as_tuple(task.example_inputs()))
        assert len(output) == len(task.example_inputs()[0])
        for split in SPLITS:
            inputs, target = next(iter(batches_of(task, split)))
            scores = task.scores(task.model().eval()(*inputs), target)
            assert scores.shape == (len(inputs[0]),)


def test_the_fingerprint_is_stable_and_sees_data() -> None:
    class Shifted(Digits):
        def batches(self, split, seed):  # type: ignore[no-untyped-def]
            return [(x + 1, y) for x, y in super().batches(split, seed)]

    assert fingerprint(Digits()) == fingerprint(Digits())
    assert fingerprint(Shifted()) != fingerprint(Digits())


def test_targets_without_dimensions_and_lists_of_inputs_are_fine() -> None:
    class Scalar(Digits):
        def batches(self, split, seed):  # type: ignore[no-untyped-def]
            return [[[torch.zeros(2, 3), torch.ones(2)], torch.tensor(1.5)]]

    assert len(fingerprint(Scalar())) == 24
    ((inputs, _),) = list(batches_of(Scalar(), "train"))
    assert isinstance(inputs, tuple)
    assert len(inputs) == 2


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("digit", UnknownName, "unknown task 'digit'; did you mean 'digits'"),
        ("nowhere.at.all:Task", TaskError, "there is no module nowhere.at.all"),
        ("math:nothing", UnknownName, "unknown class in math 'nothing'"),
        ("math:pi", TaskError, "task float lacks name"),
        ("a/b.py:Task", TaskError, "is not of the form my_package.my_module:MyTask"),
        (":Task", TaskError, "is not of the form"),
    ],
)
def test_load_task_says_what_is_wrong(name: str, kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        load_task(name)


def test_a_task_may_be_an_object_of_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "holds_objects.py").write_text(
        "from hwdse.tasks.digits import Digits\n"
        "class Sized(Digits):\n    def __init__(self, size):\n        self.batch_size = size\n"
        "small = Sized(16)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    task = load_task("holds_objects:small")
    assert len(next(iter(task.batches("train", 0)))[1]) == 16
    with pytest.raises(
        TaskError, match=r"Sized\(\) needs the argument size; give it a default|needs the argument size; give each a default"
    ):
        load_task("holds_objects:Sized")


def test_check_task_names_every_missing_member() -> None:
    with pytest.raises(TaskError, match=r"task object lacks name \(.*metric \(.*model \(.*batches \(.*loss \(.*scores \("):
        check_task(object())
