"""The jars of Apache Kafka, resolved and downloaded by the package ``jgo`` without Maven or Java.

Run as a program (`fetch_command`) it fills a directory and prints its progress; being a process of its own, it can be ended
at any moment.
"""

import hashlib
import shutil
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from dataharvest.errors import DataHarvestError, Misconfigured, Unavailable
from dataharvest.stack.cache import cache_directory

if TYPE_CHECKING:
    from jgo.maven import Artifact

KAFKA_VERSION = "4.3.1"
SCALA_VERSION = "2.13"
COORDINATES = "+".join(
    (
        f"org.apache.kafka:kafka_{SCALA_VERSION}:{KAFKA_VERSION}",
        f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}",
        # Without this bridge Kafka logs nothing at all. The version is that of log4j-core, which comes with Kafka.
        # The mark "!" keeps its parent from deciding versions of other jars, Kafka's own client among them.
        "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4!",
    )
)
SCOPES_NEEDED = frozenset({"compile", "runtime"})
DOWNLOAD_THREAD_COUNT = 4
ATTEMPT_COUNT = 3
NAME_DIGITS = 8
TIMEOUT_S = 60


def jars_directory() -> Path:
    """Where the prepared jars are; the directory exists only when it is complete."""
    content = hashlib.sha256(COORDINATES.encode()).hexdigest()[:NAME_DIGITS]
    return cache_directory() / f"kafka-{KAFKA_VERSION}-{content}"


def fetch_jars(directory: Path) -> Iterator[str]:
    """Put all jars of Kafka into ``directory``, going on where an interrupted call stopped.

    Yields:
        Lines that say how far it is.

    Raises:
        Misconfigured: ``jgo`` is not installed.
        Unavailable: the jars could not be resolved or downloaded.
    """
    repository = directory / "repository"
    remove_broken_downloads(repository)
    yield f"resolving Kafka {KAFKA_VERSION}"
    artifacts = _resolve(repository)
    with ThreadPoolExecutor(DOWNLOAD_THREAD_COUNT) as threads:
        downloads = threads.map(lambda artifact: _download(artifact, directory), artifacts)
        for count, _ in enumerate(downloads, start=1):
            yield f"{count} of {len(artifacts)} jars"


def fetch_command(directory: Path) -> list[str]:
    """What runs `fetch_jars` as a program of its own."""
    # Not by ``-m``: the package imports this module too, and Python would warn of that before the first word of ours.
    return [sys.executable, "-c", f"import sys; from {__name__} import main; sys.exit(main())", str(directory)]


def keep_only_jars(directory: Path) -> None:
    """Remove what was needed only to find the jars."""
    shutil.rmtree(directory / "repository")


def remove_broken_downloads(repository: Path) -> None:
    """Take away what an interruption left half-written; everything else in ``repository`` is kept and used again."""
    for jar in repository.rglob("*.jar"):
        if not is_whole_jar(jar):
            jar.unlink()
    for pom in repository.rglob("*.pom"):
        try:
            ElementTree.parse(pom)
        except ElementTree.ParseError:
            pom.unlink()


def is_whole_jar(jar: Path) -> bool:
    """Whether every entry of the jar can be read and has its checksum."""
    try:
        with zipfile.ZipFile(jar) as archive:
            return archive.testzip() is None
    except zipfile.BadZipFile:
        return False


def _resolve(repository: Path) -> list["Artifact"]:
    try:
        from jgo.config import GlobalSettings  # noqa: PLC0415
        from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415
        from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415
        from jgo.parse import Endpoint  # noqa: PLC0415
    except ImportError as error:
        raise Misconfigured("Kafka's jars need the package jgo; run: pip install 'dataharvest[stack]'") from error
    remotes = {"central": MAVEN_CENTRAL_URL} | GlobalSettings.load().repositories
    context = MavenContext(PythonResolver(), repo_cache=repository, remote_repos=remotes, timeout=TIMEOUT_S)
    wanted = [context.create_dependency(coordinate) for coordinate in Endpoint.parse(COORDINATES).coordinates]
    try:
        inputs, transitive = context.resolver.resolve(wanted)
    except (OSError, RuntimeError, ValueError) as error:
        raise Unavailable(f"Kafka {KAFKA_VERSION} could not be resolved: {error}") from error
    return [item.artifact for item in inputs + [other for other in transitive if other.scope in SCOPES_NEEDED]]


def _download(artifact: "Artifact", directory: Path) -> None:
    target = directory / artifact.filename
    # Only whole jars are moved there.
    if target.exists():
        return
    reason = "the file is broken"
    for _ in range(ATTEMPT_COUNT):
        try:
            jar = Path(artifact.resolve())
        except (OSError, RuntimeError) as error:
            reason = str(error)
            continue
        if is_whole_jar(jar):
            jar.replace(target)
            return
        jar.unlink()
    raise Unavailable(f"{artifact.filename} could not be downloaded: {reason}")


def main() -> int:
    """Fill the directory that the command line names; 1 when it failed, with the reason as the last line."""
    try:
        for line in fetch_jars(Path(sys.argv[1])):
            print(line, flush=True)
    except DataHarvestError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0
