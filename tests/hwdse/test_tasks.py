"""The embedded task, and finding tasks by name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hwdse.errors import TaskError, UnknownName
from hwdse.task import SPLITS, Task, batches_of, check_task, fingerprint
from hwdse.tasks import TASKS, load_task
from hwdse.tasks.cifar10 import Cifar10, _augmented
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
    assert bench.reference["test"] >= 0.97
    assert bench.reference["validation"] >= 0.97
    assert bench.reference["test_samples"] == SIZES["test"]
    graph = trace(Digits().model(), Digits().example_inputs())
    assert graph.data_flow
    assert not graph.left_out
    assert len(graph.layers) == 8


@pytest.fixture
def cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the layout of the binary version, with random pixels."""
    random = np.random.default_rng(0)
    for number in range(1, 7):
        records = random.integers(0, 256, (1_150, 3_073), dtype=np.uint8)
        records[:, 0] %= 10
        records.tofile(tmp_path / (f"data_batch_{number}.bin" if number < 6 else "test_batch.bin"))
    monkeypatch.setenv("HWDSE_CIFAR10", str(tmp_path))
    return tmp_path


def test_every_built_in_task_conforms(cifar10: Path) -> None:
    for name in TASKS:
        task = load_task(name)
        assert isinstance(task, Task)
        assert task.name == name
        output = task.model().eval()(*task.example_inputs())
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


def test_cifar10_keeps_its_splits_apart_and_augments_by_seed(cifar10: Path) -> None:
    task = Cifar10()
    sizes = {split: sum(len(y) for _, y in batches_of(task, split)) for split in SPLITS}
    assert sizes == {"train": 750 // 128 * 128, "calibration": 512, "validation": 5_000, "test": 1_150}
    first, again, other = (next(iter(task.batches("train", seed)))[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    raw = np.fromfile(cifar10 / "test_batch.bin", np.uint8).reshape(-1, 3_073)
    pixels, labels = next(iter(task.batches("test", 0)))
    assert labels[0] == raw[0, 0]
    red = (raw[0, 1] / 255 - 0.485) / 0.229  # the first pixel of the red plane
    assert float(pixels[0, 0, 0, 0]) == pytest.approx(red, rel=1e-5)


def test_augmentation_is_a_shift_within_a_zero_border_and_a_mirror() -> None:
    x = torch.arange(1.0, 33.0).expand(64, 1, 32, 32)  # every row counts 1..32 from left to right
    seen = set()
    for image in _augmented(x, torch.Generator().manual_seed(0))[:, 0]:
        inside = image[image.any(dim=1)][0]
        kept = inside[inside > 0]
        assert len(kept) >= 28  # at most four columns leave
        steps = kept.diff()
        assert (steps == 1).all() or (steps == -1).all()
        seen.add(int(steps[0]))
        assert int((~image.any(dim=1)).sum()) <= 4
    assert seen == {1, -1}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "data_batch_3.bin").unlink(), "cannot read .*data_batch_3.bin"),
        (lambda folder: (folder / "test_batch.bin").write_bytes(b"12345"), "records of 3073 bytes"),
        (lambda folder: (folder / "test_batch.bin").write_bytes(b""), "records of 3073 bytes"),
        (lambda folder: (folder / "test_batch.bin").write_bytes(b"\x0b" * 3_073), "label 11"),
        (lambda folder: (folder / "data_batch_1.bin").write_bytes(b"\x01" * 3_073), "more than 5,512"),
    ],
)
def test_cifar10_says_what_is_wrong_with_the_data(cifar10: Path, spoil: Callable[[Path], object], said: str) -> None:
    spoil(cifar10)
    with pytest.raises(TaskError, match=said):
        list(Cifar10().batches("test", 0))


def test_cifar10_needs_data_and_takes_only_its_own_weights(cifar10: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(Digits().model().state_dict(), cifar10 / "other.pt")
    with pytest.raises(TaskError, match="weights of another network"):
        Cifar10(weights=cifar10 / "other.pt").model()
    with pytest.raises(TaskError, match="cannot read the weights"):
        Cifar10(weights=cifar10 / "absent.pt").model()
    monkeypatch.delenv("HWDSE_CIFAR10")
    with pytest.raises(TaskError, match="HWDSE_CIFAR10"):
        load_task("cifar10")


def test_a_folder_of_the_same_name_does_not_hide_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package wins over a module of its name in Python's import; the class that was asked for says which is meant."""
    monkeypatch.chdir(tmp_path)
    source = "from hwdse.tasks.digits import Digits\n\n\nclass Mine(Digits):\n    name = 'mine'\n"
    for name, package in (("shaded_a", True), ("shaded_b", False)):
        (tmp_path / f"{name}.py").write_text(source)
        (tmp_path / name).mkdir()
        if package:
            (tmp_path / name / "__init__.py").write_text("")
        assert load_task(f"{name}:Mine").name == "mine"
        assert fingerprint(load_task(f"{name}:Mine"))
    with pytest.raises(UnknownName, match="unknown class in shaded_a 'Other'"):
        load_task("shaded_a:Other")


def test_a_module_that_ends_the_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ending.py").write_text("import sys\nsys.exit(7)\n")
    with pytest.raises(TaskError, match="ending fails while it is imported: SystemExit: 7"):
        load_task("ending:Task")
