"""Which Java and which Go are new enough is read from what they print."""

import pytest

from dataharvest.stack.java import major_version
from dataharvest.stack.versitygw import go_version


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('openjdk version "17.0.15" 2025-04-15\nOpenJDK Runtime Environment', 17),
        ('openjdk version "25" 2025-09-16', 25),
        ('openjdk version "21-ea" 2023-09-19', 21),
        ('java version "1.8.0_392"\nJava(TM) SE Runtime Environment', 8),
        ('Picked up JAVA_TOOL_OPTIONS: -Dversion=3\nopenjdk version "11.0.2" 2019-01-15', 11),
        ("The operation couldn't be completed. Unable to locate a Java Runtime.", 0),
        ("", 0),
    ],
)
def test_the_major_version_of_java_is_found(text: str, expected: int) -> None:
    assert major_version(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go version go1.24.1 linux/amd64\n", (1, 24)),
        ("go version go1.27rc1 darwin/arm64", (1, 27)),
        ("go: cannot find GOROOT directory", (0, 0)),
    ],
)
def test_the_version_of_go_is_found(text: str, expected: tuple[int, int]) -> None:
    assert go_version(text) == expected
