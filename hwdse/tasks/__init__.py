"""Built-in tasks, and finding one by name or by ``package.module:Class``."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import TaskError, UnknownName, text_of
from ..registry import find, names
from ..task import Task, check_task
from .cifar10 import Cifar10
from .digits import Digits
from .digits_vit import DigitsViT

TASKS: Mapping[str, Callable[[], Task]] = {"digits": Digits, "cifar10": Cifar10, "digits_vit": DigitsViT}
GROUP = "hwdse.tasks"


def load_task(name: str) -> Task:
    """The task called ``name``: a built-in or plug-in name, or ``my_package.my_module:MyTask`` (the current folder is searched too).

    Raises:
        UnknownName: no such name. TaskError: the module or class cannot be loaded, or lacks a member.
    """
    if ":" not in name:
        if name not in names(TASKS, GROUP):
            raise UnknownName("task", name, names(TASKS, GROUP), "Your own is written my_package.my_module:MyTask.")
        return check_task(find("task", TASKS, name, GROUP)())
    module_name, _, class_name = name.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")) or not class_name.isidentifier():
        raise TaskError(f"task '{name}' is not of the form my_package.my_module:MyTask (dots, no slashes, no .py).")
    module = _imported(name, module_name)
    made = _member(module if hasattr(module, class_name) else _beside(name, module), class_name)
    if not isinstance(made, type):
        return check_task(made)
    try:
        needed = [
            p.name
            for p in inspect.signature(made).parameters.values()
            if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
    except ValueError:  # a class without a readable signature
        needed = []
    if needed:
        raise TaskError(
            f"task '{name}': {class_name}() needs the argument{'s' * (len(needed) > 1)} {', '.join(needed)}; give each a default, "
            f"or write `my_task = {class_name}(...)` in the module and ask for {module_name}:my_task."
        )
    return check_task(made())


def _imported(name: str, module_name: str) -> ModuleType:
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise TaskError(f"task '{name}': there is no module {module_name} in {here} or among the installed packages.") from None
        raise TaskError(f"task '{name}': {module_name} imports {error.name}, which is not installed.") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever the user's module raises while it is imported, sys.exit included
        raise TaskError(f"task '{name}': {module_name} fails while it is imported: {text_of(error)}") from error


def _beside(name: str, module: ModuleType) -> ModuleType:
    """The file of the same name beside a package, which the package hides."""
    file = Path.cwd().joinpath(*module.__name__.split(".")).with_suffix(".py")
    if not hasattr(module, "__path__") or not file.is_file():
        return module
    spec = importlib.util.spec_from_file_location(module.__name__, file)
    assert spec is not None  # of a file that ends in .py
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = made  # where its classes are looked for
    try:
        spec.loader.exec_module(made)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise TaskError(f"task '{name}': {file} fails while it is imported: {text_of(error)}") from error
    return made


def _member(module: ModuleType, class_name: str) -> Any:
    made = getattr(module, class_name, None)
    if made is None:
        known = [n for n, v in vars(module).items() if isinstance(v, type) and v.__module__ == module.__name__]
        raise UnknownName(f"class in {module.__name__}", class_name, known)
    return made
