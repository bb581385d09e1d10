"""DataHarvest: sets of CSV files in, exact client and portfolio messages out."""

from typing import Any

__all__ = ["app"]


def __getattr__(name: str) -> Any:
    # Built on first use, so that `--help`, `stack` and unit tests need no settings.
    if name == "app":
        import dataharvest.cli
        from dataharvest.app import build_app
        from dataharvest.errors import Misconfigured
        from dataharvest.settings import load_settings

        dataharvest.cli.register_commands()
        try:
            built = build_app(load_settings())
        except Misconfigured as error:
            raise dataharvest.cli.Refusal(str(error)) from error
        # Importing the submodule has bound the name to the module; what `faust -A dataharvest` wants is the application.
        globals()["app"] = built
        return built
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
