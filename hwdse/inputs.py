"""The inputs of one forward pass, positional or by keyword, and the call with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from .errors import TaskFailed, text_of


class Named(tuple[Any, ...]):
    """Inputs by keyword: a tuple of the values, which knows their names."""

    names: tuple[str, ...]

    def __new__(cls, values: Mapping[str, Any]) -> Named:
        """From values by name, in their order."""
        made = super().__new__(cls, values.values())
        made.names = tuple(values)
        return made

    def of(self, values: Iterable[Any]) -> Named:
        """Other values under the same names."""
        return Named(dict(zip(self.names, values, strict=True)))


def as_inputs(inputs: Any) -> tuple[Any, ...]:
    """The arguments of a forward pass: a mapping gives keywords; a tuple, or the list that torch's DataLoader makes of one, positions."""
    if isinstance(inputs, Mapping):
        return Named({str(name): value for name, value in inputs.items()})
    return inputs if isinstance(inputs, Named) else tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)


def like(inputs: tuple[Any, ...], values: Iterable[Any]) -> tuple[Any, ...]:
    """Other values, given in the same way."""
    return inputs.of(values) if isinstance(inputs, Named) else tuple(values)


def in_order(inputs: tuple[Any, ...], example: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values of inputs in the order of others: by name, where both have names."""
    if not (isinstance(inputs, Named) and isinstance(example, Named) and set(inputs.names) == set(example.names)):
        return inputs
    by_name = dict(zip(inputs.names, inputs, strict=True))
    return example.of(by_name[name] for name in example.names)


def arguments(inputs: tuple[Any, ...]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(positional arguments, keyword arguments)."""
    return ((), dict(zip(inputs.names, inputs, strict=True))) if isinstance(inputs, Named) else (inputs, {})


def run(network: Any, inputs: tuple[Any, ...]) -> Any:
    """The network's output.

    Raises:
        TaskFailed: the forward pass ends the program, as ``sys.exit`` does.
    """
    positional, named = arguments(inputs)
    try:
        return network(*positional, **named)
    except (Exception, KeyboardInterrupt):
        raise
    except BaseException as error:
        raise TaskFailed(f"the forward pass of the model ended the program ({text_of(error)}).") from error
