"""Which activation buffers are alive at which step of the schedule.

A *buffer* is storage: a tensor with all its views, and with what is computed in place of it where nobody reads the
tensor in between. Where somebody does, an operation in place keeps two buffers, of possibly different widths, that are
never alive together (:attr:`Schedule.replaced`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ..graph import LayerGraph, Step


@dataclass(frozen=True)
class InPlace:
    """What needs no memory of its own. Views never do.

    Attributes:
        norm, activation: fused into the operation before, or written over their input where nothing reads it later.
        add: the sum is written over an operand that nothing reads later.
        depthwise: a depthwise convolution writes its output over its input, channel by channel.
    """

    norm: bool = True
    activation: bool = True
    add: bool = True
    depthwise: bool = False


@dataclass(eq=False)
class Buffer:
    """Storage with its size and life.

    Attributes:
        elements: of the largest tensor in it. integer: no floating point in it. bits: of each element of integers, where their type
            says so; None for those that count as indices.
        readers: quantisable layers whose input it is; its width is theirs.
        first, last: steps between which it is alive, both included; ``first`` is -1 for inputs of the model, ``last`` the
            number of steps for its outputs.
        names: the tensors in it.
    """

    elements: int
    integer: bool
    first: int
    last: int
    readers: tuple[str, ...] = ()
    bits: int | None = None
    names: list[str] = field(default_factory=list)


@dataclass
class Schedule:
    """The buffers of a graph.

    Attributes:
        of: tensor name -> buffer.
        replaced: step -> (operand, result) that share memory at this step though they are two buffers.
    """

    of: dict[str, Buffer]
    replaced: dict[int, tuple[Buffer, Buffer]]

    def alive(self, steps: int) -> Iterator[list[Buffer]]:
        """The buffers alive at each step, in the order of their birth."""
        every = sorted({id(b): b for b in self.of.values()}.values(), key=lambda b: b.first)
        active: list[Buffer] = []
        born = 0
        for step in range(steps):
            while born < len(every) and every[born].first <= step:
                active.append(every[born])
                born += 1
            active = [b for b in active if b.last >= step]
            yield active


def schedule(graph: LayerGraph, in_place: InPlace) -> Schedule:
    """Buffers and their lives in the traced order."""
    of = _stored(graph)
    replaced: dict[int, tuple[str, str]] = {}
    inputs = {id(of[name]) for name in graph.inputs}
    for position, step in enumerate(graph.steps):
        if not _allowed(step, graph, in_place) or len(step.writes) != 1:
            continue
        written = of[step.writes[0]]
        operands = step.reads if step.op == "add" else step.reads[:1]
        free = [
            b
            for b in (of[name] for name in operands)
            if b is not written and b.last == position and id(b) not in inputs and not b.integer
            and (step.op == "layer" or b.elements == written.elements)
        ]  # fmt: skip
        unread = [b for b in free if not b.readers]
        if step.op in ("norm", "activation") and unread:  # a sum keeps its operand's own width until it is written over
            _merge(of, unread[0], written)
        elif free:
            replaced[position] = free[0].names[0], step.writes[0]
    return Schedule(of, {position: (of[over], of[new]) for position, (over, new) in replaced.items()})


def _allowed(step: Step, graph: LayerGraph, in_place: InPlace) -> bool:
    if step.op == "layer":
        return in_place.depthwise and step.layer is not None and graph[step.layer].depthwise
    return (step.op == "norm" and in_place.norm) or (step.op == "activation" and in_place.activation) or (
        step.op == "add" and in_place.add
    )  # fmt: skip


def _stored(graph: LayerGraph) -> dict[str, Buffer]:
    """One buffer per tensor, views in the buffer of what they view."""
    end = len(graph.steps)
    made: dict[str, int] = {}
    used: dict[str, int] = {}
    root = {name: name for name in graph.tensors}
    for position, step in enumerate(graph.steps):
        for name in step.writes:
            made.setdefault(name, position)
            if step.op == "view" and step.reads:
                root[name] = root[step.reads[0]]
        for name in step.reads:
            used[name] = position
    used.update(dict.fromkeys(graph.outputs, end))
    found: dict[str, Buffer] = {}
    for name, tensor in graph.tensors.items():
        first = made.get(name, -1)
        last = used.get(name, first if first >= 0 else (0 if name in graph.inputs else -1))
        one = found.setdefault(root[name], Buffer(tensor.elements, tensor.integer, first, last, bits=tensor.bits))
        one.names.append(name)
        one.elements, one.integer = max(one.elements, tensor.elements), one.integer and tensor.integer
        one.bits = max(one.bits, tensor.bits) if one.bits and tensor.bits else None
        one.first, one.last = min(one.first, first), max(one.last, last)
        one.readers += tuple(r for r in graph.readers.get(name, ()) if r not in one.readers)
    return {name: found[root[name]] for name in graph.tensors}


def _merge(of: dict[str, Buffer], gone: Buffer, kept: Buffer) -> None:
    """Makes ``kept`` take over the life of ``gone``, and every tensor of it."""
    kept.first = min(kept.first, gone.first)
    kept.names.extend(gone.names)
    of.update(dict.fromkeys(gone.names, kept))
