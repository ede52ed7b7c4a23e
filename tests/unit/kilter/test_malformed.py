"""Every malformed body is refused by the server's parser, and for the reason that it is named by."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from kilter.encoding import Signature
from kilter.malformed import malformed_bodies
from kilter.serving.request import RefusedRequest, parse
from kilter.spec import Feature, Features

FEATURES = Features.model_validate(
    {
        "columns": [{"name": "fare"}, {"name": "zone", "kind": "categorical", "categories": ["north", "south"]}],
        "ttl": "1d",
        "online": "1d",
    }
)
SIGNATURE = Signature(entity="id", timestamp="at", features=FEATURES.columns)
GOOD = {"fare": 5.0, "zone": "north"}
REASONS = {
    "no rows": "no rows",
    "an unknown column": "column 'no_such_feature' is unknown",
    "a missing column": "feature 'fare' is missing",
    "a column given twice": "column fare is given twice",
    "a row that is too short": "has 1 values for 2 columns",
    "a row that is too long": "has 3 values for 2 columns",
    "a text for a number": "feature 'fare' got 'many'",
    "a number for a category": "feature 'zone' got 1",
    "no JSON": "not JSON",
    "no text": "not JSON",
    "no table": "give one of dataframe_split",
    "a list for a table": "Expected `object`",
    "nothing in it": "not JSON",
}


@pytest.mark.parametrize(("what", "body"), malformed_bodies(GOOD, FEATURES).items())
def test_it_is_refused_for_what_it_is_named_by(what: str, body: bytes) -> None:
    with pytest.raises(RefusedRequest, match=re.escape(REASONS[what])) as refused:
        parse(body, SIGNATURE, datetime.now(UTC))
    assert refused.value.status == 400


def test_only_numbers_or_only_categories_leave_the_other_kind_out() -> None:
    numbers = Features(columns=(Feature(name="fare"),), ttl=FEATURES.ttl, online=FEATURES.online)
    assert malformed_bodies(GOOD, FEATURES).keys() - malformed_bodies(GOOD, numbers).keys() == {
        "a number for a category"
    }


def test_what_they_are_made_of_is_right() -> None:
    whole = json.dumps({"dataframe_split": {"columns": list(GOOD), "data": [list(GOOD.values())]}})
    assert malformed_bodies(GOOD, FEATURES)["no JSON"] == whole[:-1].encode()
    assert parse(whole.encode(), SIGNATURE, datetime.now(UTC)).matrix.tolist() == [[5.0, 0.0]]
