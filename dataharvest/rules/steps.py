"""Long computations in steps, so that whoever runs them can do something else in between."""

from collections.abc import Callable, Generator
from functools import wraps
from typing import ParamSpec, TypeVar

Terms = ParamSpec("Terms")
Result = TypeVar("Result")
Steps = Generator[None, None, Result]
"""Yields after each step, and returns what it comes to."""


def at_once(in_steps: Callable[Terms, Steps[Result]]) -> Callable[Terms, Result]:
    """The same computation without a stop."""

    @wraps(in_steps)
    def result_of(*terms: Terms.args, **named: Terms.kwargs) -> Result:
        steps = in_steps(*terms, **named)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                result: Result = end.value
                return result

    return result_of
