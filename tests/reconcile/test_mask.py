"""Secret values do not get out: not in plans, not in errors, not in what kubectl left."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from opslib.reconcile.mask import LAST_APPLIED, masked, scrubbed, token

# Every value begins with a sign that no other part of the object has: the text of a value that is
# "metadata" would be found in any object.
VALUE = st.text(alphabet=st.characters(codec="utf-8"), min_size=8, max_size=40).map(
    "\u0416".__add__
)


def _secret(value: str) -> dict[str, object]:
    coded = base64.b64encode(value.encode()).decode()
    annotations = {LAST_APPLIED: json.dumps({"data": {"k": coded}}), "team": "payments"}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "annotations": annotations},
        "data": {"k": coded},
        "stringData": {"t": value},
    }


@given(VALUE)
def test_no_value_is_left_in_a_masked_secret(value: str) -> None:
    """Neither the text nor its base64 form is anywhere in the masked object."""
    text = json.dumps(masked(_secret(value)), ensure_ascii=False)
    coded = base64.b64encode(value.encode()).decode()
    assert json.dumps(value, ensure_ascii=False)[1:-1] not in text
    assert coded not in text
    assert "payments" in text


@given(VALUE, VALUE)
def test_tokens_tell_equal_from_different(one: str, other: str) -> None:
    """Two tokens are equal exactly when the values are."""
    assert (token(one) == token(other)) == (one == other)


@given(VALUE)
def test_messages_lose_the_values(value: str) -> None:
    """A server's message that quotes a value is shown without it."""
    secret = _secret(value)
    coded = base64.b64encode(value.encode()).decode()
    text = scrubbed(f"invalid: {value} and {coded}", secret)
    assert value not in text
    assert coded not in text


def test_malformed_data_is_masked_whole() -> None:
    """Data that is not a mapping is not shown either."""
    broken = {"apiVersion": "v1", "kind": "Secret", "data": "c2VjcmV0LXZhbHVl"}
    assert "c2VjcmV0" not in json.dumps(masked(broken))


def test_other_objects_are_left_as_they_are() -> None:
    """A ConfigMap is shown as it is."""
    config = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"k": "v"}}
    assert masked(config) is config
