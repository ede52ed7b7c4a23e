"""`kilter serve --hold`: a trial server for one version."""

import pytest

from kilter.__main__ import main


@pytest.mark.parametrize("held", ["flight_delay", "flight_delay:one:9f86", "flight_delay:1", "a:1:b:c"])
def test_what_to_hold_is_refused_with_the_form_it_must_have(held: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "--role", "canary", "--port", "0", "--hold", held]) == 2
    assert f"--hold '{held}': expected MODEL:VERSION:DIGEST" in capsys.readouterr().err
