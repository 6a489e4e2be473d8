"""Values as JSON: exact, whatever the type."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import numpy
import pandas
import pytest
from pydantic import BaseModel

from sqlalchemy_cmk import ConfigurationError, KeyRevoked
from sqlalchemy_cmk.columns.sealed import Sealed
from sqlalchemy_cmk.offboarding.values import line


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    at: date


class Form(BaseModel):
    name: str
    day: date


class Name(str):
    pass


DAY = date(2026, 11, 28)
CASES = [
    (None, None),
    (True, True),
    (2**70, 2**70),
    (1.5, 1.5),
    (float("nan"), "NaN"),
    (float("-inf"), "-Infinity"),
    ([float("inf"), 1], ["Infinity", 1]),
    (Decimal("1.10"), "1.10"),
    (DAY, "2026-11-28"),
    (datetime(2026, 11, 28, 10, 0, 0, 5), "2026-11-28T10:00:00.000005"),
    (datetime(2026, 11, 28, 10, tzinfo=UTC), "2026-11-28T10:00:00Z"),
    (time(10, 30), "10:30:00"),
    (timedelta(days=1, seconds=2), "P1DT2S"),
    (b"\x00\xff", "AP8="),
    (memoryview(b"\x00\xff"), "AP8="),
    (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Colour.RED, "red"),
    (Point(1, DAY), {"x": 1, "at": "2026-11-28"}),
    (Form(name="Zoë", day=DAY), {"name": "Zoë", "day": "2026-11-28"}),
    (Name("Zoë"), "Zoë"),
    ("half of a pair \ud800", "half of a pair \ud800"),
    ({"a": [1, {"b": None}], 7: "seven"}, {"a": [1, {"b": None}], "7": "seven"}),
    (numpy.int64(7), 7),
    (numpy.array([1.5, 2]), [1.5, 2.0]),
    (pandas.Timestamp("2026-11-28T10:00:00.000000001"), "2026-11-28T10:00:00.000000001"),
    (ip_network("10.0.0.0/8"), "10.0.0.0/8"),
]


@pytest.mark.parametrize(("value", "expected"), CASES, ids=lambda one: type(one).__name__)
def test_a_value_is_exact_in_json(value: Any, expected: Any) -> None:
    written = line({"value": value})
    assert written.count(b"\n") == 1 and written.isascii() == ("\ud800" in str(value) or written.isascii())
    assert json.loads(written) == {"value": expected}
    json.loads(written, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def test_a_value_without_a_form_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigurationError, match="object has no form in JSON") as raised:
        line({"value": object()})
    assert "0x" not in str(raised.value)


def test_a_value_that_did_not_open_is_never_written() -> None:
    with pytest.raises(KeyRevoked):
        line({"value": [Sealed("acme", "patients.notes", "disabled", b"")]})
