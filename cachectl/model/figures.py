"""Figures that are known or estimated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure from a sample, with its 95 % confidence interval (same unit as the figure)."""

    value: float
    low: float
    high: float


Figure = int | Estimate
"""A figure that is known, or estimated."""


def value_of(figure: float | Estimate) -> float:
    """Return a figure without its interval."""
    return figure.value if isinstance(figure, Estimate) else figure
