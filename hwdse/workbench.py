"""Score once, solve many: one task with its trace, trained weights, sensitivities and cost tables, each made once and kept.

What takes time (trained weights, sensitivities) is also kept on disk, under a key of everything that determines it; the budget is
never part of a key.
"""

from __future__ import annotations

import contextlib
import copy
import io
import platform
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import nn

from . import __version__
from .checkpoint import drop_damaged
from .checksums import sealed, unsealed
from .choices import ENDS, Choices
from .constraints import Budget, parse_budget
from .contract import example_of, model_of
from .costs import CostModel, CostTable, FloatArray
from .decoding import cache_elements, decode_step
from .devices import find_device
from .door import at_the_door
from .errors import FileFormatError, SolverError, TaskError, UnknownName, UsageError
from .evaluation import evaluate, evaluate_exchanged
from .formats import LayerFormat, NumberFormat
from .graph import LayerGraph
from .intervals import paired_p
from .loop import everyones_random_state, set_everyones_random_state
from .names import file_name
from .problem import Problem, loss_table
from .quantized import QuantizedModel
from .quantizers import Scheme
from .registry import find
from .sensitivity import GROUP, SENSITIVITIES, sensitivity
from .solvers.infeasible import feasible
from .storage import (
    StorageError,
    bytes_of,
    cache_folder,
    key_of,
    locked,
    read_checkpoint,
    sweep_up,
    tables_from_bytes,
    tables_to_bytes,
    write,
)
from .task import Split, Task, check_task, fingerprint, pretrained_of, recipes_of, sources
from .trace import trace
from .trace.computed_weights import detach_computed
from .training import train_float

Say = Callable[[str, int, int], None]  # (what is being done, steps done, steps in all)
PER_TOKEN = ("latency", "energy", "interval", "bitops")  # metrics that generating has in place of the traced pass
PACKAGES = ("torch", "numpy", "scipy", "pulp", "optuna", "scikit-learn")


class Target(Protocol):
    """An accelerator as the core sees it: a name, and its cost models, which say what it cannot run."""

    @property
    def name(self) -> str:
        """As in metric keys, ``latency@NAME``."""
        ...

    def cost_models(self) -> Sequence[CostModel]:
        """Latency, energy, weight memory with this device's packing."""
        ...


class Workbench:
    """Everything about one task that allocators, sweeps and commands share.

    Args:
        task: the user's task.
        targets: accelerators.
        cost_models: hardware-independent cost models (BitOPs, ...).
        weights, activations: formats to choose from, every pair of them; a number is a plain integer of so many bits.
        formats: the options themselves, in place of ``weights`` and ``activations``.
        pins, ends: see :meth:`Choices.of`.
        method: sensitivity method, a name in :data:`hwdse.sensitivity.SENSITIVITIES`.
        seed: of initialisation and training.
        decode: tokens in the cache: latency, energy and bit operations are those of generating one token with so many before it, not
            of the pass that was traced (see :mod:`hwdse.decoding`). None: as traced.
        device: where networks are trained and scored, as torch names it (``"cpu"``, ``"cuda"``).
        cache: folder for what takes time; None keeps nothing. Default: :func:`hwdse.storage.cache_folder`.
        say: told what is being done.
        metrics: names of the costs that are asked for, such as ``latency``; None: all. What nobody asks for need not be known.
    """

    def __init__(
        self,
        task: Task,
        targets: Iterable[Target] = (),
        cost_models: Iterable[CostModel] = (),
        *,
        weights: Iterable[int | NumberFormat] = range(2, 9),
        activations: Iterable[int | NumberFormat] = range(2, 9),
        formats: Iterable[LayerFormat] | None = None,
        pins: Mapping[str, LayerFormat] | None = None,
        ends: LayerFormat | None = ENDS,
        method: str = "fit",
        decode: int | None = None,
        seed: int = 0,
        device: str = "cpu",
        cache: Path | str | None = "default",
        say: Say | None = None,
        metrics: Collection[str] | None = None,
    ) -> None:
        self.task = check_task(task)
        given = list(targets)
        self.targets = {target.name: target for target in given}
        if len(self.targets) < len(given):
            names = [target.name for target in given]
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError(f"two accelerators are named '{twice}': give each file a name of its own, or results cannot be told apart.")
        self.cost_models = tuple(cost_models)
        self._weights, self._activations, self._pins, self._ends = tuple(weights), tuple(activations), pins, ends
        self._formats = None if formats is None else tuple(formats)
        self._metrics = metrics
        find("sensitivity method", SENSITIVITIES, method, GROUP)  # an unknown name is said before anything is trained
        self.method, self.decode, self.seed = method, decode, seed
        self.device = find_device(device)
        self.cache = cache_folder() if cache == "default" else Path(cache) if cache is not None else None
        self._say: Say = say or (lambda what, done, total: None)
        self._losses: dict[Scheme, CostTable] = {}
        self._tables: dict[tuple[LayerFormat, ...], dict[str, CostTable]] = {}

    @cached_property
    def graph(self) -> LayerGraph:
        """The traced model."""
        torch.manual_seed(self.seed)
        return trace(model_of(self.task), example_of(self.task))

    @cached_property
    def costed_graph(self) -> LayerGraph:
        """What latency, energy and bit operations are counted on: the trace, or the generation of one token."""
        return self.graph if self.decode is None else decode_step(self.graph, self.decode)

    @cached_property
    def choices(self) -> Choices:
        """The decision space before any accelerator's limits."""
        return Choices.of(self.graph, self._weights, self._activations, formats=self._formats, pins=self._pins, ends=self._ends)

    def choosing_from(self, formats: Iterable[LayerFormat], pins: Mapping[str, LayerFormat] | None = None) -> Self:
        """The same task and network with other formats to choose from; ``pins`` hold more layers at one."""
        self.graph, self.fingerprint  # noqa: B018  # traced and read once for both
        made = copy.copy(self)
        made._formats, made._pins = tuple(formats), {**(self._pins or {}), **(pins or {})}
        made._losses, made._tables = {}, {}
        for name in ("choices", "costs_fingerprint"):
            made.__dict__.pop(name, None)
        return made

    def choices_for(self, scheme: Scheme | None) -> Choices:
        """The decision space in the formats of some quantisers: a codebook quantiser makes codebooks of plain widths."""
        if scheme is None:
            return self.choices
        made = self.choices.mapped(scheme.formats)
        return self.choices if made.options == self.choices.options else made

    @property
    def tables(self) -> Mapping[str, CostTable]:
        """Metric key -> cost table, of every cost model and every accelerator."""
        return self.tables_by(None)

    def tables_by(self, scheme: Scheme | None) -> Mapping[str, CostTable]:
        """Every table, over the formats of some quantisers."""
        choices = self.choices_for(scheme)
        if choices.options not in self._tables:
            self._tables[choices.options] = self._tabulated(choices)
        return self._tables[choices.options]

    def _tabulated(self, choices: Choices) -> dict[str, CostTable]:
        every = [*self.cost_models, *(model for target in self.targets.values() for model in target.cost_models())]
        names = [model.metric.name for model in every]
        for name in self._metrics or ():
            if name not in names:
                raise UnknownName("metric", name, names)
        models = [model for model in every if self._metrics is None or model.metric.name in self._metrics]
        step = None if self.decode is None else self.costed_graph
        floating = [layer.name for layer in self.graph.layers if not layer.quantisable]
        found: dict[str, CostTable] = {}
        for number, model in enumerate(models):
            self._say("cost tables", number, len(models))
            generating = step if model.metric.name in PER_TOKEN else None
            table = model.tabulate(generating or self.graph, choices.options).aligned(choices)
            if table.metric.key in found:
                raise UsageError(f"two cost models give the metric {table.metric.key}; leave one out.")
            if floating:
                note = f"{len(floating)} layers take no widths and run in floating point in the measured score: {', '.join(floating[:8])}"
                table = replace(table, notes=(*table.notes, note + (" ..." if len(floating) > 8 else ".")))
            if step is not None and self.decode is not None and model.metric.name == "activations":
                kept = cache_elements(self.graph, self.decode)  # a byte each
                note = f"the peak of the traced pass, and the cache of {self.decode:,} tokens at 8 bits beside it: {kept / 2**20:.4g} MiB."
                table = replace(table, fixed=table.fixed + kept, notes=(*table.notes, note))
            if generating:
                table = replace(
                    table, convention=f"{table.convention.rstrip('.')}; of generating one token.", notes=(*table.notes, self._cache_note)
                )
            found[table.metric.key] = table
        return found

    @property
    def _cache_note(self) -> str:
        assert self.decode is not None  # only asked for then
        elements = cache_elements(self.graph, self.decode)
        return (
            f"a token is generated with {self.decode:,} in the cache of keys and values: {elements:,} numbers, {elements / 2**20:.4g} MiB "
            "at 8 bits, all of which are read."
        )

    def tables_for(self, target: str | None, scheme: Scheme | None = None) -> tuple[CostTable, ...]:
        """The tables that apply on one accelerator: its own, and those that depend on none. None: all of them.

        Raises:
            UnknownName: no such accelerator here.
        """
        if target is not None and target not in self.targets:
            raise UnknownName("accelerator", target, self.targets)
        return tuple(t for t in self.tables_by(scheme).values() if target is None or t.metric.on in (None, target))

    def cannot_run(self, scheme: Scheme | None, target: str | None) -> str:
        """The formats of some quantisers, where an accelerator runs no pair of them; empty where it runs one."""
        choices, tables = self.choices_for(scheme), self.tables_for(target, scheme)
        if target is None or any(np.isfinite(table.cells).all(axis=0).any() for table in tables if table.metric.on == target):
            return ""
        odd = [number for number in (*choices.weight_formats, *choices.activation_formats) if not number.plain]
        return ", ".join(map(str, dict.fromkeys(odd)))

    def problem(self, *budget: str, target: str | None = None, scheme: Scheme | None = None) -> Problem:
        """The problem under a budget.

        Mistakes, and budgets that nobody can meet, are said before anything is trained.

        Args:
            budget: texts such as ``"latency <= 3 ms"``.
            target: accelerator the budget is for; the others' limits on widths then play no part.
            scheme: quantisers whose error the loss table, and whose storage the cost tables shall hold (default: lsq+lsq).
        """
        return self.reachable(*budget, target=target, scheme=scheme).with_loss(self.loss(scheme))

    def reachable(self, *budget: str, target: str | None = None, scheme: Scheme | None = None) -> Problem:
        """The problem without its losses, once it is known to have an answer: nothing is trained for it. Arguments as for :meth:`problem`.

        Raises:
            InfeasibleBudget: no widths meet the budget. UsageError: malformed text, widths that the device cannot run.
        """
        # limits relative to a uniform allocation are those of plain weights, whatever the scheme
        limits, tables = self.budget(*budget, target=target), self.tables_for(target, scheme)
        choices = self.choices_for(scheme)
        problem = Problem(choices, loss_table(choices, np.zeros(choices.allowed.shape)), tables, limits)
        if limits:
            with contextlib.suppress(SolverError):  # none found in time: who allocates has the last word
                feasible(problem, time_limit=5)
        return problem

    def budget(self, *budget: str, target: str | None = None) -> Budget:
        """Budget texts as absolute limits; needs no sensitivities."""
        return parse_budget(budget, self.tables_for(target), self.choices)

    # What takes time: kept on disk

    @cached_property
    def fingerprint(self) -> str:
        """Fingerprint of the task's code and data, of the traced graph, and of the code of the model's own modules."""
        self.notes  # noqa: B018  # data that cannot be read twice would be used up by this
        code = sources(type(module) for module in self._blank.modules())
        return key_of(fingerprint(self.task), self.graph.fingerprint, sorted(code))

    def _kept(self, name: str, key: str, make: Callable[[], bytes], check: Callable[[bytes, Path], Any]) -> Any:
        """Read from the cache, or made and put there: by one process, while others that need the same wait for it."""
        path = None if self.cache is None else self.cache / f"{file_name(name, 'task')}-{key}"
        if path is None:
            return check(make(), Path(name))
        found = _read(path, check)
        if found is not None:
            return found
        content: bytes | None = None
        try:
            with locked(
                path.parent / "locks" / f"{path.name}.lock", lambda: self._say(f"waiting for another process that makes {name}", 0, 1)
            ):
                found = _read(path, check)
                if found is not None:
                    return found
                sweep_up(path.parent)
                content = make()
                write(path, sealed(content))
        except StorageError:
            self.cache = None  # nothing can be kept here; going on without is right, a cache is only speed
        return check(make() if content is None else content, path)

    @cached_property
    def _state(self) -> dict[str, Any]:
        torch.manual_seed(self.seed)
        network = model_of(self.task)
        self.notes  # noqa: B018  # what the task owes is looked at before anything long runs
        if getattr(self.task, "trained", False):
            return dict(network.state_dict())
        if self._pretrained is not None:
            return self._pretrained
        recipe = recipes_of(self.task).scratch
        key = key_of(self.fingerprint, self.seed, repr(recipe), self.device.type, torch.__version__, __version__)
        unfinished = None if self.cache is None else self.cache / f"{file_name(self.task.name, 'task')}.fp32.partial-{key}"

        def make() -> bytes:
            network.to(self.device)
            train = partial(train_float, network, self.task, recipe, self.seed, lambda done, total: self._say("training FP32", done, total))
            if unfinished is not None:
                drop_damaged(unfinished)
            train(unfinished)
            buffer = io.BytesIO()
            torch.save(network.cpu().state_dict(), buffer)
            return buffer.getvalue()

        state: dict[str, Any] = self._kept(f"{self.task.name}.fp32.pt", key, make, read_checkpoint)
        if unfinished is not None:
            unfinished.unlink(missing_ok=True)
        return state

    @cached_property
    def _pretrained(self) -> dict[str, Any] | None:
        """What the task gives in place of training, once it is known to fit its model."""
        state = pretrained_of(self.task, self.seed)
        if state is None:
            return None
        try:
            copy.deepcopy(self._blank).load_state_dict(state)
        except RuntimeError as error:
            what = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
            raise TaskError(
                f"task {self.task.name}: pretrained({self.seed}) gives the weights of another network than model(): {what} "
                "Give the weights of this model, or None to have it trained."
            ) from None
        return dict(state)

    @cached_property
    def weights_from(self) -> str:
        """Where the FP32 weights come from, in words."""
        if getattr(self.task, "trained", False):
            return "the task's model(), which comes with them (trained = True)"
        if self._pretrained is not None:
            return f"the task's pretrained({self.seed}): trained before, not here"
        return f"trained here by the task's recipe: {recipes_of(self.task).scratch.epochs} epochs, seed {self.seed}"

    @cached_property
    def notes(self) -> tuple[str, ...]:
        """What must be said of the task, after a look at one batch of each split; nobody's random numbers are spent on it.

        Raises:
            TaskError: see :func:`~hwdse.door.at_the_door`.
        """
        before = everyones_random_state()
        try:
            network, trained = self._blank, bool(getattr(self.task, "trained", False))
            if not trained and self._pretrained is not None:
                network, trained = copy.deepcopy(network), True
                network.load_state_dict(self._pretrained)
            return at_the_door(self.task, network, self.device, trained=trained)
        finally:
            set_everyones_random_state(before)

    def network(self) -> nn.Module:
        """A fresh copy of the trained FP32 network."""
        network = copy.deepcopy(self._blank)
        network.load_state_dict(self._state)
        return network.to(self.device).eval()

    @cached_property
    def _blank(self) -> nn.Module:
        torch.manual_seed(self.seed)
        return detach_computed(model_of(self.task))

    def quantized(self, scheme: Scheme | None = None) -> QuantizedModel:
        """A fresh quantised model, in floating point until widths are set."""
        return QuantizedModel(self.network(), self.graph, scheme)

    @property
    def weights_size(self) -> int:
        """Bytes of the trained FP32 weights: about what a checkpoint takes."""
        return sum(value.numel() * value.element_size() for value in self._state.values())

    @cached_property
    def weights_fingerprint(self) -> str:
        """Fingerprint of the trained FP32 weights."""
        return key_of(*(part for k, v in sorted(self._state.items()) for part in (k, bytes_of(v))))

    def loss(self, scheme: Scheme | None = None) -> CostTable:
        """The loss table for a scheme's quantisers."""
        scheme = scheme or Scheme()
        if scheme not in self._losses:
            what = f"sensitivities ({self.method}, {scheme})"
            self._say(what, 0, 1)

            def make() -> bytes:
                torch.manual_seed(self.seed)
                table = sensitivity(self.method, self.quantized(scheme), self.task, choices, partial(self._say, what))
                return tables_to_bytes({"loss": table})

            choices = self.choices_for(scheme)
            options = [str(o) for o in choices.options]
            key = key_of(
                self.fingerprint,
                self.weights_fingerprint,
                self.method,
                str(scheme),
                sorted(sources([find("sensitivity method", SENSITIVITIES, self.method, GROUP), *scheme.classes])),
                options,
                choices.allowed.tobytes(),
                self.seed,
                self.device.type,
                torch.__version__,
                __version__,
            )
            found = self._kept(f"{self.task.name}.{self.method}.npz", key, make, tables_from_bytes)
            self._losses[scheme] = found["loss"].aligned(choices)
        return self._losses[scheme]

    @cached_property
    def costs_fingerprint(self) -> str:
        """Fingerprint of every number in the cost tables: another accelerator file, or another version of a cost model, changes it."""
        parts: list[Any] = []
        for table in (*self.tables.values(), *self.tables_by(Scheme("codebook")).values()):
            parts += [table.metric.key, *(a.tobytes() for a in table.numbers)]
        return key_of(*parts)

    @cached_property
    def reference(self) -> dict[str, float]:
        """Scores of the FP32 network on validation and test, their sample counts; of the first its interval, and the score by
        other samples' outputs with the p of the difference (see :func:`~hwdse.evaluation.evaluate_exchanged`)."""
        network = self.network()
        found: dict[str, float] = {}
        splits: tuple[Split, ...] = ("validation", "test")
        for split in splits:
            result = evaluate(network, self.task, split)
            found[split], found[f"{split}_samples"] = result.mean, float(result.samples)
            if split == "validation" and result.interval:
                found["validation_low"], found["validation_high"] = result.interval
        exchanged = evaluate_exchanged(network, self.task)
        if exchanged is not None:
            found["validation_own"], found["validation_exchanged"] = (part.mean for part in exchanged)
            found["validation_exchanged_p"] = paired_p(*(part.scores for part in exchanged))
            found["validation_exchanged_samples"] = float(exchanged[0].samples)
        return found

    @cached_property
    def reference_scores(self) -> FloatArray:
        """Scores of the FP32 network, one for each validation sample."""
        return evaluate(self.network(), self.task, "validation").scores

    def provenance(self) -> dict[str, Any]:
        """Versions, seeds, fingerprints, machine."""
        versions = {"hwdse": __version__, "python": platform.python_version()}
        for package in PACKAGES:
            try:
                versions[package] = version(package)
            except PackageNotFoundError:
                continue
        return {
            "versions": versions,
            "seed": self.seed,
            "graph": self.graph.fingerprint,
            "task": self.fingerprint,
            "weights": self.weights_fingerprint,
            "weights_from": self.weights_from,
            "costs": self.costs_fingerprint,
            "sensitivity": self.method,
            "machine": f"{platform.machine()}, {platform.system()}, {torch.get_num_threads()} threads, {self.device}",
            "python": sys.version.split()[0],
        }


def _read(path: Path, check: Callable[[bytes, Path], Any]) -> Any:
    """None where the file is absent, not what was written, or of another version."""
    try:
        return check(unsealed(path.read_bytes(), path), path)
    except (FileFormatError, OSError):
        return None
