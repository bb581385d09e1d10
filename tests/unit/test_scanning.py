"""Lines of a piece of text, counted the same whatever its length."""

import re

from hypothesis import given
from hypothesis import strategies as st

from dataharvest.rules.scanning import line_count


@given(st.text(alphabet="a\r\n", max_size=12), st.sampled_from([1, 400, 5000]))
def test_lines_are_counted_alike_in_short_and_long_text(text: str, times: int) -> None:
    data = text.encode() * times
    assert line_count(data) == len(re.findall(rb"\r\n|\r|\n", data))
