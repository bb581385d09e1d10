"""Where entities, transformers and outbound messages are found: one module each, here or in an installed package."""

from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from types import ModuleType


def modules_of(package_name: str) -> list[ModuleType]:
    """Modules of a package of ours plus those that installed packages add under the same entry-point group.

    Order follows the names, so that every worker sees the same order.
    """
    package = import_module(package_name)
    own = [import_module(f"{package_name}.{found.name}") for found in iter_modules(package.__path__)]
    added = [point.load() for point in entry_points(group=package_name)]
    return sorted(own + added, key=lambda module: module.__name__)
