"""The same report, whole, in every format and width: what changes in it is seen in a review.

`python tests/output/test_whole_outputs.py` writes the expected files anew.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from reports import FORMATS, sample, shown

from cachectl.output.show import Format

EXPECTED = Path(__file__).with_name("expected")
CASES = [(chosen, 80) for chosen in FORMATS] + [
    (Format.TABLE, columns) for columns in (20, 40, 200)
]


def name(chosen: Format, columns: int) -> str:
    return f"{chosen}.txt" if columns == 80 else f"{chosen}-{columns}.txt"


@pytest.mark.parametrize(("chosen", "columns"), CASES)
def test_whole_output(chosen: Format, columns: int) -> None:
    expected = EXPECTED / name(chosen, columns)
    assert shown(sample(), chosen, columns) == expected.read_text(encoding="utf-8")


def test_every_expected_file_is_compared() -> None:
    names = {path.name for path in EXPECTED.iterdir()}
    assert names == {name(chosen, columns) for chosen, columns in CASES}


if __name__ == "__main__":
    EXPECTED.mkdir(exist_ok=True)
    for case in CASES:
        EXPECTED.joinpath(name(*case)).write_text(shown(sample(), *case), encoding="utf-8")
