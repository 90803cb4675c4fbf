"""What messages say: values with time and quality, and what is refused by name."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colossus_tui.hub.facility.payload import PAYLOAD_BYTES, PayloadError, Reading, decode
from colossus_tui.model import Quality


@pytest.mark.parametrize(
    ("text", "reading"),
    [
        ("12.5", Reading(12.5)),
        (" -3 ", Reading(-3.0)),
        ("true", Reading(1.0)),
        ('{"value": 7}', Reading(7.0)),
        ('{"value": false}', Reading(0.0)),
        ('{"value": 7, "quality": "Uncertain"}', Reading(7.0, quality=Quality.UNCERTAIN)),
        ('{"value": 7, "quality": "bad", "unit": "W"}', Reading(7.0, quality=Quality.BAD)),
        ('{"value": 7, "quality": null, "timestamp": null}', Reading(7.0)),
        ('{"value": 7, "modelled": true}', Reading(7.0, modelled=True)),
        ('{"value": 7, "timestamp": 1767225600}', Reading(7.0, 1767225600.0)),
        ('{"value": 7, "timestamp": 1767225600500}', Reading(7.0, 1767225600.5)),
        ('{"value": 7, "timestamp": "2026-01-01T00:00:00Z"}', Reading(7.0, 1767225600.0)),
        ('{"value": 7, "timestamp": "2026-01-01T01:00:00.5+01:00"}', Reading(7.0, 1767225600.5)),
    ],
)
def test_a_value_is_read_with_its_time_and_quality(text: str, reading: Reading) -> None:
    assert decode(text.encode()) == reading


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "not_json"),
        (b"on", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"[" * 4_000, "not_json"),
        (b'{"a":' * 800, "not_json"),
        (b"1" * (PAYLOAD_BYTES + 1), "too_large"),
        (b"null", "no_value"),
        (b'"12"', "no_value"),
        (b"[1]", "no_value"),
        (b"{}", "no_value"),
        (b'{"value": null}', "no_value"),
        (b'{"value": "12"}', "no_value"),
        (b'{"value": {"value": 1}}', "no_value"),
        (b"NaN", "not_finite"),
        (b"-Infinity", "not_finite"),
        (b"1e999", "not_finite"),
        (b"9" * 4_000, "not_finite"),
        (b'{"value": NaN}', "not_finite"),
        (b'{"value": 1, "quality": "fine"}', "quality"),
        (b'{"value": 1, "quality": 192}', "quality"),
        (b'{"value": 1, "timestamp": "today"}', "time"),
        (b'{"value": 1, "timestamp": "2026-01-01T00:00:00"}', "time"),
        (b'{"value": 1, "timestamp": -1}', "time"),
        (b'{"value": 1, "timestamp": 1e15}', "time"),
        (b'{"value": 1, "timestamp": NaN}', "time"),
        (b'{"value": 1, "timestamp": true}', "time"),
        (b'{"value": 1, "timestamp": [1]}', "time"),
        (b'{"value": 1, "timestamp": "0001-01-01T00:00:00+23:59"}', "time"),
    ],
)
def test_what_is_no_value_is_refused_by_name(data: bytes, kind: str) -> None:
    with pytest.raises(PayloadError) as caught:
        decode(data)

    assert caught.value.kind == kind
    assert str(caught.value).isprintable()


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_else(data: bytes) -> None:
    try:
        found = decode(data)
    except PayloadError:
        return
    assert isinstance(found.value, float)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@given(st.fixed_dictionaries({}, optional={"value": JSON, "timestamp": JSON, "quality": JSON}))
def test_no_object_does_anything_else(message: dict[str, object]) -> None:
    try:
        found = decode(json.dumps(message).encode())
    except PayloadError:
        return
    assert abs(found.value) < float("inf")
