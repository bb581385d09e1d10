"""Long computations in steps, so that whoever runs them can do something else in between."""

from collections.abc import Callable, Generator
from functools import wraps
from typing import Generic, ParamSpec, TypeVar

Terms = ParamSpec("Terms")
Result = TypeVar("Result")
Steps = Generator[None, None, Result]
"""Yields after each step, and returns what it comes to."""


class Course(Generic[Result]):
    """Steps for a loop to go through, once, and what they came to."""

    result: Result
    """There once the loop has ended."""

    def __init__(self, steps: Steps[Result]) -> None:
        self._steps = steps

    def __iter__(self) -> Steps[None]:
        """The steps."""
        self.result = yield from self._steps


def at_once(in_steps: Callable[Terms, Steps[Result]]) -> Callable[Terms, Result]:
    """The same computation without a stop."""

    @wraps(in_steps)
    def result_of(*terms: Terms.args, **named: Terms.kwargs) -> Result:
        course = Course(in_steps(*terms, **named))
        for _ in course:
            pass
        return course.result

    return result_of
