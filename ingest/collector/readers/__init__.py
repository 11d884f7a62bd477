"""Readers of what harnesses write, by the harness's name. A module here is one when it has NAME and Reader; adding one is adding a file."""

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from types import ModuleType


@cache
def readers() -> Mapping[str, ModuleType]:
    """Every module of this folder that reads a harness's records, by its NAME."""
    modules = (import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__))
    return {module.NAME: module for module in modules if hasattr(module, "Reader") and hasattr(module, "NAME")}
