"""Where entities, transformers and outbound messages are found: one module each, here or in an installed package."""

from collections.abc import Callable, Iterable
from importlib import import_module
from importlib.metadata import entry_points
from pkgutil import iter_modules
from types import ModuleType
from typing import TypeVar

from dataharvest.errors import Misconfigured

Member = TypeVar("Member")


def modules_of(package_name: str) -> list[ModuleType]:
    """Modules of a package of ours plus those that installed packages add under the same entry-point group.

    Order follows the names, so that every worker sees the same order.
    """
    package = import_module(package_name)
    own = [import_module(f"{package_name}.{found.name}") for found in iter_modules(package.__path__)]
    added = [point.load() for point in entry_points(group=package_name)]
    return sorted(own + added, key=lambda module: module.__name__)


def members_by_name(modules: Iterable[ModuleType], kind: type[Member], name_of: Callable[[Member], str]) -> dict[str, Member]:
    """What the modules hold of a kind, by name and in its order.

    Raises:
        Misconfigured: two of them have the same name: one would silently take the other's place.
    """
    found: dict[str, tuple[Member, str]] = {}
    for module in modules:
        for member in vars(module).values():
            if not isinstance(member, kind):
                continue
            known, where = found.setdefault(name_of(member), (member, module.__name__))
            # A module may well import another one's.
            if known is not member:
                raise Misconfigured(
                    f"{where} and {module.__name__} both declare the {kind.__name__.lower()} {name_of(member)!r}: rename one."
                )
    return {name: found[name][0] for name in sorted(found)}
