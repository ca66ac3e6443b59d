"""Ranges of parameters, declared with their types: `beta: Positive = 0.1`.

A value outside its range is refused when a run is planned, before it becomes part of an identity. Others are
declared with `annotated_types`: `Annotated[int, Interval(ge=2, le=8)]`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from annotated_types import Ge, Gt, Interval

Positive: TypeAlias = Annotated[float, Gt(0)]
"""A number above 0."""
NotNegative: TypeAlias = Annotated[float, Ge(0)]
"""A number of at least 0."""
Share: TypeAlias = Annotated[float, Interval(ge=0, le=1)]
"""A number from 0 to 1."""
Dropout: TypeAlias = Annotated[float, Interval(ge=0, lt=1)]
"""A probability below 1."""
Decay: TypeAlias = Annotated[float, Interval(gt=0, le=1)]
"""A factor for each step; 1 forgets nothing."""
Count: TypeAlias = Annotated[int, Ge(1)]
"""A whole number of at least 1."""
Whole: TypeAlias = Annotated[int, Ge(0)]
"""A count that may be zero."""
