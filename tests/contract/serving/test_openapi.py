"""The server keeps to the OpenAPI document that it gives: schemathesis asks what the document allows, and what it forbids."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance

from kilter.encoding import Matrix, Signature
from kilter.serving.models import LoadedModel
from kilter.serving.openapi import document
from kilter.spec import load_spec
from kilter.stores.deployment import Deployment

from .conftest import MODEL, SPEC, Installation


class Silent:
    """A predictor that is not asked."""

    name = "silent"

    def predict(self, rows: Matrix) -> list[float]:
        raise NotImplementedError


DEPLOYMENT = Deployment(model=MODEL, version=1, key="", digest="")
DOCUMENT = document([LoadedModel(DEPLOYMENT, Signature.of(load_spec(SPEC)), Silent())])
EXAMPLES = {
    path: item["post"]["requestBody"]["content"]["application/json"]["example"]
    for path, item in DOCUMENT["paths"].items()
    if "post" in item
}

schema = schemathesis.openapi.from_dict(DOCUMENT)


@pytest.fixture(scope="module")
def champion(installation: Installation) -> Iterator[httpx.Client]:
    installation.deploy("champion", 1)
    with httpx.Client(base_url=installation.settings.champion) as client:
        yield client


def test_the_document_is_what_the_server_gives(champion: httpx.Client) -> None:
    assert champion.get("/openapi.json").json() == DOCUMENT
    assert champion.get(f"/models/{MODEL}/openapi.json").json() == DOCUMENT


@schema.parametrize()
@settings(
    max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
def test_it_keeps_to_the_document(champion: httpx.Client, case: schemathesis.Case) -> None:
    # A schema cannot say that rows are as wide as there are columns, nor that data is of its shape.
    case.call_and_validate(base_url=str(champion.base_url), excluded_checks=[positive_data_acceptance])
    assert champion.get("/ping").status_code == 200


@pytest.mark.parametrize("path", EXAMPLES)
def test_the_examples_of_the_document_are_answered(champion: httpx.Client, path: str) -> None:
    assert champion.post(path, json=EXAMPLES[path]).status_code == 200


@pytest.mark.parametrize("path", ["/docs", f"/models/{MODEL}/docs"])
def test_the_page_shows_it_and_needs_no_other_host(champion: httpx.Client, path: str) -> None:
    answer = champion.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert all(f"<code>{asked}</code>" in answer.text for asked in DOCUMENT["paths"])
    assert "http" not in answer.text.replace('http-equiv="Content-Security-Policy"', "")
    assert "<script" not in answer.text
