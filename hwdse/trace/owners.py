"""Who owns an operation: the module that was really called, and the parameter behind a weight operand."""

from __future__ import annotations

from torch import Tensor, nn
from torch.fx import Node
from torch.nn.utils import parametrize

from .computed_weights import computed_before, parametrizations_of
from .constants import Constant, source_of

Frame = tuple[str, str]  # key of one call of a module, path of the module

_QUANTISABLE = (
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
    nn.Embedding,
)

# Methods that hand their input to the operation as it is: what the last forward pre-hook returns is what the layer reads.
_STOCK_FORWARDS = frozenset(kind.forward for kind in _QUANTISABLE)
_STOCK_CONVOLUTIONS = frozenset(kind._conv_forward for kind in (nn.Conv1d, nn.Conv2d, nn.Conv3d))


def _stock(module: nn.Module) -> bool:
    kind = type(module)
    inner = getattr(kind, "_conv_forward", None)
    return kind.forward in _STOCK_FORWARDS and (inner is None or inner in _STOCK_CONVOLUTIONS)


def quantisable_module(module: nn.Module) -> bool:
    """Whether the module has one ``weight`` and one input that can be given bit-widths."""
    return isinstance(module, _QUANTISABLE)


def joined(path: str, name: str) -> str:
    """The path of what is called ``name`` inside of ``path``."""
    return ".".join(part for part in (path, name) if part)


def _split(name: str) -> tuple[str, str]:
    """(path of the module, attribute) of a parameter: PyTorch permits no dots in the names of either."""
    path, _, attribute = name.rpartition(".")
    return path, attribute


class Names:
    """Gives each name once."""

    def __init__(self) -> None:
        self._uses: dict[str, int] = {}

    def unique(self, name: str) -> str:
        """The name, or the first free one of ``name#2``, ``name#3`` ..."""
        found, number = name, self._uses.get(name, 0)
        while found in self._uses:
            number += 1
            found = f"{name}#{number}"
        self._uses[name] = max(number, 1)
        self._uses.setdefault(found, 1)
        return found


class Owners:
    """Paths of a model's modules and parameters, each known under its first name (as ``named_parameters`` gives it).

    Args:
        model: what was traced.
        place: its path, where it is a module of a larger model: paths of modules begin with it, names of parameters do not.
    """

    def __init__(self, model: nn.Module, place: str = "") -> None:
        self._model, self._place = model, place
        self._paths: dict[int, str] = {id(module): joined(place, path) for path, module in model.named_modules()}
        tensors: list[tuple[str, Tensor]] = [*model.named_parameters(), *model.named_buffers()]
        self._names: dict[int, str] = {id(tensor): name for name, tensor in tensors}

    def canonical(self, name: str) -> str:
        """The first name of the parameter or buffer that is also called ``name`` (tied weights); constants keep theirs."""
        path, attribute = _split(name)
        try:
            found: object = getattr(self._model.get_submodule(path), attribute)
        except AttributeError:
            return name
        return self._names.get(id(found), name)

    def path(self, path: str) -> str:
        """The first path of the module that is also found under ``path``."""
        return self._paths.get(id(self._model.get_submodule(path)), path)

    @staticmethod
    def frames(node: Node) -> list[Frame]:
        """The calls of modules that the node lies in, innermost last; a second call of a module has another key."""
        stack = node.meta.get("nn_module_stack") or {}
        return [(str(key), str(entry[0])) for key, entry in stack.items()]

    def caller(self, node: Node) -> str:
        """Path of the innermost module whose call holds the node; empty for the model itself."""
        frames = self.frames(node)
        return self.path(frames[-1][1]) if frames else self._place

    def owner(self, name: str) -> str:
        """Path of the module that holds a parameter."""
        return joined(self._place, _split(name)[0])

    def resolve(self, node: Node, source: Node, constant: Constant, weight: Node, op: str) -> tuple[str, str | None]:
        """(name of the layer, path of the module whose weight and input can be quantised or None).

        A module counts as the owner only if it was called and its ``weight``, as it is when the forward pass begins, is the operand:
        ``nn.MultiheadAttention`` hands the weights of its output projection to a function, and neither a hook nor a pre-hook of that
        projection would run; a weight that the forward pass computes (low-rank additions) is computed behind every quantiser.
        ``source`` is the node that made the layer's input; if that lies in the module's own call, a hook cannot reach it,
        unless it was a pre-hook that made it.
        """
        frames = self.frames(node)
        key, called = frames[-1] if frames else ("", "")
        module, path = self._model.get_submodule(called), self.path(called)
        if quantisable_module(module) and self._holds(module, constant, weight):
            inside = key in [k for k, _ in self.frames(source)] and not _stock(module)
            return path or op, None if inside else path
        parameter = constant.whole or source_of(constant, weight)
        if parameter is None:
            return (f"{path}/{op}" if path else op), None
        owner = self.owner(parameter)
        if _split(parameter)[1] == "weight" and owner:
            return owner, None
        return f"{owner}/{op}" if owner else op, None

    def _holds(self, module: nn.Module, constant: Constant, weight: Node) -> bool:
        """Whether an operand is what ``module.weight`` gives."""
        own = module._parameters.get("weight")
        if own is not None:
            return constant.whole is not None and self._names.get(id(own)) == constant.whole
        if not computed_before(module):
            return False
        if _stock(module) or not parametrize.is_parametrized(module, "weight"):
            return _stock(module)
        parametrization = parametrizations_of(module)
        originals = {self._names.get(id(p)) for p in parametrization.parameters(recurse=False)}
        return constant.whole in originals or any(self._model.get_submodule(path) is parametrization for _, path in self.frames(weight))
