"""What a section of the report is: facts, numbers that are tested; and their drawing, text and figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from markupsafe import Markup

from ..records import SweepRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

F = TypeVar("F")


@dataclass(frozen=True)
class Drawing:
    """A figure with its name (of the file, too), the sentence under it, and whether it needs the full width of the page."""

    name: str
    figure: Figure
    caption: str
    wide: bool = False


@dataclass(frozen=True)
class Fragment:
    """The body of a section: markup and figures in reading order. Plain text in ``Markup.format`` is escaped."""

    parts: tuple[Markup | Drawing, ...] = ()

    @property
    def drawings(self) -> tuple[Drawing, ...]:
        """Its figures."""
        return tuple(p for p in self.parts if isinstance(p, Drawing))


class Section(Protocol[F]):
    """One section. Adding one is one class with these members and one line in :data:`~hwdse.reports.sections.SECTIONS`."""

    @property
    def title(self) -> str:
        """The heading."""
        ...

    def facts(self, record: SweepRecord) -> F:
        """Every number that is shown, without drawing anything. Must work for a record without trials."""
        ...

    def draw(self, facts: F) -> Fragment:
        """Text and figures of the facts; nothing else is known here."""
        ...


AnySection = Section[Any]
