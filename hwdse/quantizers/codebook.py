"""Adaptive weight codebooks: the weight quantiser of ADQ (arXiv 2510.19760).

A non-uniform codebook needs a table look-up on the device; an accelerator's file says whether it has one. Indices have b bits, the
codes behind them 8 (:attr:`hwdse.formats.Codebook.code`), and costs count both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ..formats import Codebook as CodebookElement
from ..formats import NumberFormat
from .base import Quantizer, StraightThrough
from .levels import Grid

_LLOYD = 30  # full-batch adaptation steps at calibration, at most


class Codebook(Quantizer):
    """Weights: nearest of 2^b - 1 codes, zero among them; codes follow the weights by exponential moving averages.

    Initialisation: positive and negative weights apart, ``m = 2^(b-1) - 1`` codes a side at the quantiles ``(j - 1/2) / m``.
    Adaptation: ``n_k <- d n_k + (1-d) |k|``, ``m_k <- d m_k + (1-d) sum of the weights at k``, ``c_k = m_k / n_k``; zero stays zero; a code
    that nothing uses is put where the error is largest.

    Args:
        start: ``quantile`` (the paper's), ``grid`` (evenly spaced), or ``settled`` (ours): from both, full steps of adaptation until the
            error settles (Lloyd's), and the better of the two, as quantiles leave the tails of wide codebooks without codes.
        decay: d; 1 leaves the codes as they started.
    """

    def __init__(self, start: Literal["settled", "quantile", "grid"] = "settled", decay: float = 0.99) -> None:
        super().__init__()
        self.start, self.decay = start, decay
        self._books: dict[int, _Book] = {}  # by width, so that a probe at another width forgets nothing
        self._adapted: int | None = None

    def get_extra_state(self) -> dict[str, Any]:
        """Codes, counts and masses by width, for checkpoints."""
        books = {str(bits): [book.codes, book.count, book.mass] for bits, book in self._books.items()}
        return {"books": books, "adapted": self._adapted}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """The inverse of :meth:`get_extra_state`."""
        self._books = {int(bits): _Book(*parts) for bits, parts in state["books"].items()}
        self._adapted = state["adapted"]

    def serves(self, number: NumberFormat) -> bool:
        """Codebook formats, ``cb4``."""
        return isinstance(number.element, CodebookElement)

    def counterpart(self, number: NumberFormat) -> NumberFormat:
        """A codebook of as many bits."""
        return NumberFormat.parse(f"cb{number.bits}") if number.plain and not number.floating else number

    def codes(self, bits: int) -> Tensor:
        """(2^b - 1,) the codes at a width, ascending."""
        return self._books[bits].codes

    def calibrate(self, sample: Tensor, number: NumberFormat) -> None:
        """A codebook for the weight itself, by the rule of ``start``."""
        bits = self.check(number)
        with torch.no_grad():
            flat = sample.detach().float().flatten()
            if self.start != "settled":
                quantiles, grid = _first_codes(flat, bits)
                self._books[bits] = _assigned(quantiles if self.start == "quantile" else grid, flat)
                return
            self._books[bits] = min((_settled(codes, flat) for codes in _first_codes(flat, bits)), key=lambda book: book.error(flat))

    def adapt(self, x: Tensor, number: NumberFormat) -> None:
        """One step of the moving averages on the current weight; at a width just changed to, the codebook is made anew."""
        bits = self.check(number)
        if bits != self._adapted or bits not in self._books:
            self.calibrate(x, number)
            self._adapted = bits
            return
        if self.decay == 1:
            return
        with torch.no_grad():
            flat = x.detach().float().flatten()
            book = self._books[bits].on(x.device)
            count, mass = book.assigned(flat)
            book.count = self.decay * book.count + (1 - self.decay) * count
            book.mass = self.decay * book.mass + (1 - self.decay) * mass
            book.update(flat)

    def levels(self, quantised: Tensor | None, number: NumberFormat) -> Grid:
        """The grid of the codes behind the indices."""
        code = CodebookElement(number.bits).code
        high = int(code.largest)
        scale = (self.codes(number.bits).abs().max().clamp_min(1e-12) / high).cpu().numpy().astype(np.float32)
        return Grid(code.bits, -high, high, scale)

    def requirement(self, number: NumberFormat) -> str:
        """Indices have to be looked up."""
        return f"weights are indices into codebooks of {CodebookElement(number.bits).code.bits}-bit codes, which the costs include"

    def quantize(self, x: Tensor, number: NumberFormat) -> Tensor:
        """Nearest code; a codebook that the width lacks is made from ``x``."""
        bits = self.check(number)
        if bits not in self._books:
            self.calibrate(x, number)
        book = self._books[bits].on(x.device)
        q = book.stored(bits)[book.nearest(x.detach().float())].to(x.dtype)
        result: Tensor = StraightThrough.apply(x, q)  # type: ignore[no-untyped-call]  # torch's stub
        return result


@dataclass
class _Book:
    """Codes of one width, with the moving averages behind them."""

    codes: Tensor
    count: Tensor
    mass: Tensor

    def on(self, device: torch.device) -> _Book:
        """Itself, where the tensor that it serves is: checkpoints bring it back on the CPU."""
        if self.codes.device != device:
            self.codes, self.count, self.mass = (t.to(device) for t in (self.codes, self.count, self.mass))
        return self

    def nearest(self, x: Tensor) -> Tensor:
        """Index of the nearest code."""
        return torch.bucketize(x, (self.codes[1:] + self.codes[:-1]) / 2)

    def stored(self, bits: int) -> Tensor:
        """The codes as a device holds them: integers as wide as the element's codes, symmetric, with one scale."""
        steps = CodebookElement(bits).code.largest
        scale = self.codes.abs().max().clamp_min(1e-12) / steps
        stored: Tensor = torch.round(self.codes / scale) * scale
        return stored

    def assigned(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Number of weights at each code, and their sum."""
        nearest = self.nearest(flat)
        mass = torch.zeros_like(self.codes).scatter_add_(0, nearest, flat)
        return torch.bincount(nearest, minlength=len(self.codes)).float(), mass

    def error(self, flat: Tensor) -> float:
        """Mean squared distance to the nearest code."""
        return float((flat - self.codes[self.nearest(flat)]).pow(2).mean()) if flat.numel() else 0.0

    def update(self, flat: Tensor) -> None:
        """Codes from the averages; dead codes (fewer than 1e-3 weights) move to the largest errors; zero stays zero."""
        zero = int((self.codes == 0).nonzero()[0])
        alive = self.count > 1e-3
        codes = torch.where(alive, self.mass / self.count.clamp_min(1e-12), self.codes)
        codes[zero] = 0.0
        dead = (~alive).nonzero().flatten()
        dead = dead[dead != zero]
        if len(dead):
            error = (flat - self.codes[self.nearest(flat)]).abs()
            worst = torch.topk(error, min(len(dead), flat.numel())).indices
            codes[dead[: len(worst)]] = flat[worst]
            self.count[dead], self.mass[dead] = 1.0, codes[dead]
        order = codes.argsort()
        self.codes, self.count, self.mass = codes[order], self.count[order], self.mass[order]


def _first_codes(flat: Tensor, bits: int) -> list[Tensor]:
    """Two starts, each of 2^b - 1 ascending codes with zero in the middle: quantiles of each side, and an even grid."""
    side = 2 ** (bits - 1) - 1
    at = (torch.arange(side, device=flat.device) + 0.5) / side
    zero = torch.zeros(1, device=flat.device)
    halves, grid = [], []
    for part in (flat[flat < 0], flat[flat > 0]):
        empty = not part.numel()
        halves.append(torch.zeros(side, device=flat.device) if empty else _quantiles(part, at))
        edge = zero[0] if empty else part[part.abs().argmax()]
        grid.append(edge * (torch.arange(side, device=flat.device) + 1) / side)
    return [torch.cat([halves[0], zero, halves[1]]), torch.cat([grid[0].flip(0), zero, grid[1]])]


def _settled(codes: Tensor, flat: Tensor) -> _Book:
    """A codebook after Lloyd's steps."""
    book = _assigned(codes, flat)
    for _ in range(_LLOYD):
        before = book.codes
        book.count, book.mass = book.assigned(flat)
        book.update(flat)
        if torch.equal(book.codes, before):
            break
    book.count, book.mass = book.assigned(flat)
    return book


def _assigned(codes: Tensor, flat: Tensor) -> _Book:
    """A codebook with the counts and masses of its first assignment, or the first average would lose the codes."""
    book = _Book(codes, torch.zeros_like(codes), torch.zeros_like(codes))
    book.count, book.mass = book.assigned(flat)
    return book


def _quantiles(values: Tensor, at: Tensor) -> Tensor:
    """Quantiles by linear interpolation; torch.quantile refuses more than 2^24 elements."""
    ordered = values.sort().values
    position = at * (len(ordered) - 1)
    low = position.floor().long()
    high = (low + 1).clamp_max(len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
