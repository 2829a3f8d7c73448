"""What can be compared, in `METHODS` by name. Every module here is imported, so that a new file is registered."""

from importlib import import_module
from pkgutil import iter_modules

from .base import METHODS, Method, fitted

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = ["METHODS", "Method", "fitted"]
