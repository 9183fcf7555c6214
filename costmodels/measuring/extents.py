"""The shapes of an operation's operands, from its signature. Height 1 throughout means one dimension."""

from __future__ import annotations

from dataclasses import dataclass

from ..signature import Signature


@dataclass(frozen=True)
class Extents:
    """Shapes as PyTorch has them; convolutions: (N, C, ...) and (out, in/groups, ...), transposed (in, out/groups, ...)."""

    input: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()

    @property
    def kernel(self) -> tuple[int, ...]:
        """Spatial extents of a convolution's weight."""
        return self.weight[2:]


def extents(signature: Signature) -> Extents:
    """The input of an embedding is a tensor of indices; tokens are a second dimension where there are several."""
    s = signature
    rows = (s.batch, s.tokens) if s.tokens > 1 else (s.batch,)
    if s.op == "linear":
        return Extents((*rows, s.in_channels), (s.out_channels, s.in_channels))
    if s.op == "embedding":
        return Extents(rows, (s.in_channels, s.out_channels))
    flat = (s.in_h, s.kernel_h, s.stride_h, s.pad_h, s.dilation_h) == (1, 1, 1, 0, 1)

    def kept(h: int, w: int) -> tuple[int, ...]:
        return (w,) if flat else (h, w)

    ends = (s.in_channels, s.out_channels // s.groups) if s.op == "conv_transpose" else (s.out_channels, s.in_channels // s.groups)
    return Extents(
        (s.batch, s.in_channels, *kept(s.in_h, s.in_w)), (*ends, *kept(s.kernel_h, s.kernel_w)), kept(s.stride_h, s.stride_w),
        kept(s.pad_h, s.pad_w), kept(s.dilation_h, s.dilation_w),
    )  # fmt: skip
