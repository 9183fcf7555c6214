"""Bit operations: ``sum over layers of MACs · weight bits · activation bits``, under a named convention.

``activation bits`` is the width of the layer's input. Bias, norm, pooling and element-wise operations count 0. Published
figures follow different rules for the first and the last layer, so the rule is an object that travels with the number.

Sources of the rules: HAWQ-V3 (Yao et al., ICML 2021), FracBits (Yang and Jin, AAAI 2021), AdaQAT (Gernigon et al., 2024).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..choices import ENDS
from ..costs import CostTable
from ..errors import UnknownName, UsageError
from ..formats import FLOAT_BITS, LayerFormat
from ..graph import LayerGraph
from ..metrics import BITOPS, Metric
from .coverage import left_out_notes, listed

Width = int | Literal["chosen", "float"]


@dataclass(frozen=True)
class EndRule:
    """Widths at which the first or the last layer is counted: a number of bits, as ``chosen``, or ``float``."""

    weight: Width = "chosen"
    activation: Width = "chosen"

    def apply(self, chosen: LayerFormat, fp_bits: int) -> LayerFormat:
        """The pair that is counted."""

        def bits(rule: Width, own: int) -> int:
            return own if rule == "chosen" else fp_bits if rule == "float" else rule

        return LayerFormat.of(bits(self.weight, chosen.weight.operand.bits), bits(self.activation, chosen.activation.operand.bits))

    def __str__(self) -> str:
        if self.weight == self.activation:
            return (
                "as chosen" if self.weight == "chosen" else "floating point" if self.weight == "float" else f"w{self.weight}a{self.weight}"
            )
        return f"weights {self.weight}, input {self.activation}"


AS_CHOSEN = EndRule()


@dataclass(frozen=True)
class BitOpsConvention:
    """How bit operations are counted.

    Attributes:
        name: shown in reports.
        first, last: rule of the first and of the last layer that bit-widths are chosen for, in execution order.
        fp_bits: width of a floating-point number where a rule says floating point, and of both operands where a weight is computed in
            the forward pass or is complex: no quantiser reaches it.
        dynamic_matmul: widths of every other layer that no bit-widths are chosen for: attention, products of two activations,
            recurrent layers.
    """

    name: str = "chosen"
    first: EndRule = AS_CHOSEN
    last: EndRule = AS_CHOSEN
    fp_bits: int = FLOAT_BITS
    dynamic_matmul: LayerFormat = ENDS

    @property
    def sentence(self) -> str:
        """The rule in words."""
        return (
            f"BitOPs = MACs x weight bits x input bits, convention '{self.name}': first layer {self.first}, last layer "
            f"{self.last}; floating point is {self.fp_bits} bits; layers without a choice of widths (attention, products of "
            f"two activations) at {self.dynamic_matmul}, those whose weight is computed in the forward pass or is complex in floating "
            f"point; bias, norm, pooling and element-wise operations 0."
        )


_EIGHT = EndRule(8, 8)
CONVENTIONS: Mapping[str, BitOpsConvention] = {
    "chosen": BitOpsConvention(),
    "hawq": BitOpsConvention("hawq", _EIGHT, _EIGHT),
    "fracbits": BitOpsConvention("fracbits", _EIGHT, EndRule(weight=8)),
    "adaqat": BitOpsConvention("adaqat", _EIGHT, EndRule("float", "float")),
}


class BitOps:
    """Cost model of bit operations.

    Args:
        convention: a :class:`BitOpsConvention` or the name of one: ``chosen`` (every layer at its chosen widths; pins
            decide about the ends), ``hawq``, ``fracbits``, ``adaqat``.

    Raises:
        UnknownName: no convention of that name.
    """

    def __init__(self, convention: str | BitOpsConvention = "chosen") -> None:
        if isinstance(convention, str):
            if convention not in CONVENTIONS:
                raise UnknownName("BitOPs convention", convention, CONVENTIONS)
            convention = CONVENTIONS[convention]
        if not 1 <= convention.fp_bits <= FLOAT_BITS:
            raise UsageError(f"fp_bits must lie in 1..{FLOAT_BITS}, got {convention.fp_bits}.")
        self.convention = convention

    @property
    def metric(self) -> Metric:
        """BitOPs, on no particular accelerator."""
        return BITOPS

    def tabulate(self, graph: LayerGraph, options: Sequence[LayerFormat]) -> CostTable:
        """One row; a cell is ``MACs · w · a`` of the layer at the option, the fixed part what no choice changes."""
        rule, layers = self.convention, graph.quantisable
        macs = np.array([layer.macs for layer in layers], np.float64)
        products = np.tile(np.array([_product(o) for o in options], np.float64), (len(layers), 1))
        for end, position in ((rule.first, 0), (rule.last, -1)):
            if end != AS_CHOSEN and layers:
                counted = [end.apply(o, rule.fp_bits) for o in options]
                products[position] = [_product(c) for c in counted]
        rest = [layer for layer in graph.layers if not layer.quantisable]
        floating = sum(layer.macs for layer in rest if layer.floating)
        other = sum(layer.macs for layer in rest) - floating
        fixed = float(other * _product(rule.dynamic_matmul) + floating * rule.fp_bits**2)
        return CostTable.one_row(
            BITOPS, [layer.name for layer in layers], options, macs[:, None] * products, fixed,
            convention=rule.sentence, notes=(self._covered(graph, macs.sum()), *left_out_notes(graph)),
        )  # fmt: skip

    def _covered(self, graph: LayerGraph, macs: float) -> str:
        share = macs / graph.macs if graph.macs else 1.0
        floating = [layer.name for layer in graph.layers if layer.floating]
        rest = f"; the others are at {self.convention.dynamic_matmul}" if share < 1 else ""
        rest += f", in floating point {listed(floating)}" if floating else ""
        return f"bit-widths are chosen for {share:.2%} of the {graph.macs:,} counted MACs{rest}."


def _product(option: LayerFormat) -> int:
    """Bits that meet in one multiplication: of what the multiplier sees, so the codes of a codebook and not its indices."""
    return option.weight.operand.bits * option.activation.operand.bits
