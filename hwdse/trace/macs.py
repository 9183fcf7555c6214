"""Multiply-accumulates of one operation from its shapes. Bias, scale and softmax count 0, masks subtract nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from ..errors import TraceError

Shape = Sequence[int]


def conv_macs(input_shape: Shape, output_shape: Shape, weight_shape: Shape, transposed: bool) -> int:
    """``N Cout (Cin/groups) prod(kernel) prod(out)``; transposed: ``N Cin (Cout/groups) prod(kernel) prod(in)``.

    ``weight_shape`` is PyTorch's: (Cout, Cin/groups, *kernel), transposed (Cin, Cout/groups, *kernel). With or without batch.
    """
    return prod(input_shape if transposed else output_shape) * prod(weight_shape[1:])


def attention_macs(query: Shape, key: Shape, output: Shape) -> int:
    """``B H L S (E + Ev)``: scores and context of query (B, H, L, E), key (B, H', S, E) and output (B, H, L, Ev).

    Grouped queries (H' < H) do the work of H heads; what a mask or causality would spare is not subtracted.
    """
    return prod(output[:-1]) * key[-2] * (query[-1] + output[-1])


def recurrent_macs(rows: int, *weights: Shape) -> int:
    """``rows * sum of elements``: each weight matrix of a cell is used once per row (time step and batch entry)."""
    return rows * sum(prod(shape) for shape in weights)


def einsum_labels(equation: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Splits an equation into one string of one-letter labels per operand, and the output's; an ellipsis becomes letters.

    Raises:
        TraceError: the equation does not fit the operands.
    """
    left, arrow, right = equation.replace(" ", "").partition("->")
    operands = left.split(",")
    if len(operands) != len(ranks):
        raise TraceError(f"einsum '{equation}' names {len(operands)} operands; it got {len(ranks)}.")
    spare = [chr(c) for c in range(0x3B1, 0x3B1 + 24)]  # Greek letters, which equations cannot hold
    widest = max((rank - len(o.replace("...", "")) for o, rank in zip(operands, ranks, strict=True) if "..." in o), default=0)
    full = []
    for operand, rank in zip(operands, ranks, strict=True):
        missing = rank - len(operand.replace("...", ""))
        if missing < 0 or (missing and "..." not in operand):
            raise TraceError(f"einsum '{equation}' gives {operand} to an operand of {rank} dimensions.")
        full.append(operand.replace("...", "".join(spare[widest - missing : widest])))
    named = "".join(operands).replace(".", "")
    if not arrow:
        right = "..." * any("..." in o for o in operands) + "".join(sorted(c for c in set(named) if named.count(c) == 1))
    return full, right.replace("...", "".join(spare[:widest]))


class Contraction:
    """The product of two operands over their common labels: ``macs = product of the extents of all labels``.

    A label of one operand that is missing in the other and in the output is summed before the product and counts nothing.
    Where nothing is contracted the operation is element-wise: ``macs`` is 0.
    """

    def __init__(self, left: str, left_shape: Shape, right: str, right_shape: Shape, output: str) -> None:
        extents: dict[str, int] = {}
        for labels, shape in ((left, left_shape), (right, right_shape)):
            for label, extent in zip(labels, shape, strict=True):
                extents[label] = max(extent, extents.get(label, 1))
        both = set(left) & set(right)
        self.contracted = both - set(output)
        used = both | (set(extents) & set(output))
        self.macs = prod(extents[label] for label in used) if self.contracted else 0
        self._output = output

    def weight(self, labels: str, shape: Shape, other: str) -> tuple[tuple[int, int], int]:
        """((out, in / groups), groups) of a weight operand: labels common to all three are groups, as of a convolution."""
        own = dict(zip(labels, shape, strict=True))
        groups = prod(e for label, e in own.items() if label in other and label in self._output)
        free = prod(e for label, e in own.items() if label not in other)
        return (groups * free, prod(e for label, e in own.items() if label in self.contracted)), groups


def chained_macs(labels: Sequence[str], shapes: Sequence[Shape], output: str, path: Sequence[int] | None) -> int:
    """Sum over the pairwise products of an einsum of several operands, along ``path`` (pairs of positions) or left to right."""
    operands = [(text, dict(zip(text, shape, strict=True))) for text, shape in zip(labels, shapes, strict=True)]
    total, order = 0, list(path or ())
    while len(operands) > 1:
        i, j = (order.pop(0), order.pop(0)) if order else (0, 1)
        (first, left), (second, right) = operands[i], operands[j]
        rest = [operands[k] for k in range(len(operands)) if k not in (i, j)]
        needed = set(output).union(*(text for text, _ in rest))
        extents = {**left, **right}
        kept = "".join(label for label in extents if label in needed)
        total += Contraction(first, tuple(left[c] for c in first), second, tuple(right[c] for c in second), kept).macs
        result = (kept, {label: extents[label] for label in kept})
        operands = [*rest, result] if path else [result, *rest]
    return total
