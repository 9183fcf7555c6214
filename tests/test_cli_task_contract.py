# ruff: noqa: E501  # a task a line
"""Tasks that break what they owe: one sentence, before anything long runs, whichever command was given; never a fault of hwdse's."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import Ran, hwdse, task_file

ALLOCATE = ("allocate", "-b", "bitops <= 80% of w8a8", "--no-measure")
SWEEP = ("sweep", "-b", "bitops <= 80% of w8a8", "--trials", "1", "--epochs", "0", "-o", "RUN")
SENSITIVITY = ("sensitivity", "--figure", "s.png")
MEASURED = ("sensitivity", "--method", "measured", "--figure", "s.png")
PROFILE = ("profile",)

# name -> (body of a class that derives from the toy task, part of the sentence, exit status)
LOSSES = {
    "Dict": ("def loss(self, o, t):\n return {'cls': F.cross_entropy(o, t)}", "got a dict (cls). Add its terms up.", 2),
    "Pair": ("def loss(self, o, t):\n return F.cross_entropy(o, t), 0", "got a tuple of 2", 2),
    "Each": ("def loss(self, o, t):\n return F.cross_entropy(o, t, reduction='none')", "got 64 numbers (shape [64]). Take their mean.", 2),
    "Number": ("def loss(self, o, t):\n return float(F.cross_entropy(o, t))", "got a float. Return the tensor itself", 2),
    "Nothing": ("def loss(self, o, t):\n pass", "got None", 2),
    "Whole": ("def loss(self, o, t):\n return (o.argmax(1) != t).sum()", "got a tensor of type int64", 2),
    "NoNumber": ("def loss(self, o, t):\n return F.cross_entropy(o, t) * float('nan')", "training batch is nan; look at batches()", 2),
    "Exit": ("def loss(self, o, t):\n import sys\n sys.exit(3)", "loss() ended the program (SystemExit: 3)", 1),
    "Cancelled": ("def loss(self, o, t):\n import asyncio\n raise asyncio.CancelledError", "ended the program (CancelledError: no message)", 1),
    "Unprintable": (
        "def loss(self, o, t):\n class E(Exception):\n  def __str__(self): raise RuntimeError\n raise E",
        "the task's own code failed: E: its message cannot be printed", 1,
    ),
    "ThreeArguments": ("def loss(self, o, t, w):\n pass", "'loss' must be loss(output, target) -> scalar tensor", 2),
}  # fmt: skip
GRADIENTS = {
    "NoGrad": ("def loss(self, o, t):\n return F.cross_entropy(o.detach(), t)", "got one without a gradient", 2),
    "NoGradForward": (
        "def model(self):\n net = super().model()\n net.forward = torch.no_grad()(net.forward)\n return net", "got one without a gradient", 2,
    ),
    "InPlace": (
        "def loss(self, o, t):\n y = torch.exp(o)\n y += 1\n return y.mean()", "the gradient of loss() cannot be worked out: RuntimeError", 2,
    ),
}  # fmt: skip
SCORES = {
    "Mean": ("def scores(self, o, t):\n return (o.argmax(1) == t).float().mean()", "got one number (a mean?) for a batch of 64", 2),
    "OneABatch": ("def scores(self, o, t):\n return (o.argmax(1) == t).float().mean().reshape(1)", "got 1 for a batch of 64", 2),
    "OneAClass": ("def scores(self, o, t):\n return torch.ones(4)", "got 4 for a batch of 64", 2),
    "Columns": ("def scores(self, o, t):\n return (o == o.max(1, keepdim=True).values).float()", "got a tensor of shape [64, 4]", 2),
    "Numbers": ("def scores(self, o, t):\n return [1.0] * 64", "got a list", 2),
    "NotFinite": ("def scores(self, o, t):\n return torch.full((64,), float('inf'))", "scores() must be finite", 2),
    "Complex": ("def scores(self, o, t):\n return torch.ones(64) * 1j", "got complex numbers", 2),
    "Miscounted": (
        "def count_samples(self, i, t):\n return 7\ndef scores(self, o, t):\n return torch.ones(64)", "64 where count_samples() says 7", 2,
    ),
    "ExitLate": ("def scores(self, o, t):\n raise SystemExit", "scores() ended the program (SystemExit: no message)", 1),
}  # fmt: skip
DATA = {
    "UsedUp": ("def batches(self, s, seed):\n self.all = getattr(self, 'all', None) or iter(super().batches('train', 0))\n return self.all", "it gives one iterator every time", 2),
    "UsedUpTwice": ("used = set()\ndef batches(self, s, seed):\n yield from [] if s in self.used else super().batches(s, seed)\n self.used.add(s)", "yielded nothing", 2),
    "Sparse": ("def batches(self, s, seed):\n return [(x.to_sparse(), y) for x, y in super().batches(s, seed)]", "must give dense tensors, got a sparse one", 2),
    "Nested": ("def batches(self, s, seed):\n return [(torch.nested.nested_tensor(list(x)), y) for x, y in super().batches(s, seed)]", "must give dense tensors, got a nested one", 2),
    "Endless": ("def batches(self, s, seed):\n import itertools\n return itertools.cycle(super().batches(s, seed))", "goes on: it must end after one pass", 2),
    "Shuffled": ("def batches(self, s, seed):\n return [(x[torch.randperm(64)], y) for x, y in super().batches(s, seed)]", "must give the same samples in the same order at each call", 2),
    "Empty": ("def batches(self, s, seed):\n return []", "yielded nothing; each split needs at least one batch", 2),
    "OtherRank": ("def example_inputs(self):\n return (torch.zeros(1, 5, 8),)", "the input of example_inputs() is float32[1, 5, 8], that of batches() float32[64, 8]", 2),
    "Scalar": ("def batches(self, s, seed):\n return [(torch.tensor(1.0), 1)]", "must have a dimension that counts the samples", 2),
    "OneArgument": ("def batches(self, split):\n pass", "'batches' must be batches(split, seed)", 2),
    "ExitData": ("def batches(self, s, seed):\n import sys\n sys.exit('no data')\n yield", "ended the program (SystemExit: no data)", 1),
}  # fmt: skip
MODELS = {
    "NoModel": ("def model(self):\n return None", "model() must return a torch.nn.Module, got NoneType", 2),
    "Scripted": ("def model(self):\n return torch.jit.script(super().model())", "model() returns TorchScript, whose layers", 2),
    "PartScripted": ("def model(self):\n net = super().model()\n net[2] = torch.jit.script(net[2])\n return net", "TorchScript (at '2')", 2),
    "Traced": ("def model(self):\n return torch.jit.trace(super().model().eval(), torch.zeros(1, 8))", "model() returns TorchScript", 2),
    "Already": (
        "def model(self):\n return torch.ao.quantization.quantize_dynamic(super().model(), {nn.Linear}, dtype=torch.qint8)",
        "quantised already (at '0'): it holds torch.ao.nn.quantized.dynamic", 2,
    ),
    "Prepared": (
        "def model(self):\n net = super().model().train()\n net.qconfig = torch.ao.quantization.get_default_qat_qconfig('fbgemm')\n return torch.ao.quantization.prepare_qat(net)",
        "quantised already", 2,
    ),
    "WholeWeights": (
        "def model(self):\n net = super().model()\n net[2].weight = nn.Parameter(torch.ones(24, 24, dtype=torch.int8), requires_grad=False)\n return net",
        "'weight' is of type int8", 2,
    ),
    "LazyElsewhere": (
        "def model(self):\n net = super().model()\n net[0].unused = nn.LazyLinear(3)\n return net", "is built by its first input, and example_inputs() does not", 2,
    ),
    "ExitForward": (
        "def model(self):\n net = super().model()\n net[0].register_forward_hook(lambda *a: (_ for _ in ()).throw(SystemExit(4)))\n return net",
        "the forward pass of the model ended the program (SystemExit: 4)", 1,
    ),
    "ExitModel": ("def model(self):\n raise SystemExit(5)", "model() ended the program (SystemExit: 5)", 1),
}  # fmt: skip
KINDS = {"losses": LOSSES, "gradients": GRADIENTS, "scores": SCORES, "data": DATA, "models": MODELS}
OTHERS = {"losses": (SWEEP, SENSITIVITY, MEASURED), "gradients": (SWEEP, SENSITIVITY), "scores": (SWEEP,), "data": (SWEEP, SENSITIVITY),
          "models": (PROFILE, SWEEP)}  # fmt: skip
CASES = [  # each under allocate, and under another command by turns
    (name, command)
    for kind, tasks in KINDS.items()
    for number, name in enumerate(tasks)
    for command in (ALLOCATE, OTHERS[kind][number % len(OTHERS[kind])])
]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def asked(task: str, command: tuple[str, ...]) -> Ran:
    first, *rest = command
    return hwdse(first, *(["--task", task] if first == "sweep" else [task]), *rest)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of torch's own quantisation
@pytest.mark.parametrize(("name", "command"), CASES, ids=lambda x: x if isinstance(x, str) else " ".join(x[:2]))
def test_a_broken_task_is_told_so_in_a_sentence(module: Path, name: str, command: tuple[str, ...]) -> None:
    body, sentence, code = next(tasks[name] for tasks in KINDS.values() if name in tasks)
    indented = "\n".join(f"    {line}" for line in body.splitlines())
    task = task_file(module, f"\nclass {name}(Toy):\n    name = '{name}'\n{indented}\n", of=name)
    ran = asked(task, command)
    assert sentence in ran.said
    assert ran.code == code
    assert "fault of hwdse" not in ran.said
    assert "training FP32" not in ran.err
