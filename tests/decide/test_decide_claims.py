"""The advisors' thresholds in tokens a month, whatever unit they are written in."""

import numpy as np
import pytest

from llmstudy.decide.claims import claims_in_tokens, crossover_claims


def test_claims_of_every_advisor_that_gives_a_number_become_tokens():
    table = claims_in_tokens(crossover_claims(), 1366, 0.005)
    assert set(table["who"]) == {"Analyst", "Challenger", "Architect"}  # the Strategist gives none
    at = table.set_index("claim")
    assert at.loc["crossover for GPT-4o or Sonnet class", ["low", "high"]].tolist() == [2e9, 5e9]
    assert at.loc["self-hosting wins above", "low"] == pytest.approx(1e8 * 1366)
    spend = at.loc["move when API spend reaches", "low"]
    assert spend / 1366 * 0.005 == pytest.approx(10_000)
    yearly = at.loc["20 % risk of needing to migrate above", "low"]
    assert yearly * 12 / 1366 * 0.005 == pytest.approx(500_000)


def test_claims_in_tokens_hold_still_while_those_in_usd_move_with_the_price():
    cheap, dear = (
        claims_in_tokens(crossover_claims(), 1366, usd).set_index("claim") for usd in (0.001, 0.01)
    )
    ratio = cheap["low"] / dear["low"]
    assert ratio["move when API spend reaches"] == pytest.approx(10)
    assert ratio["crossover for the mini tier"] == 1
    assert ratio["APIs win below"] == 1


def test_spend_on_a_free_request_is_never_reached():
    table = claims_in_tokens(crossover_claims(), 1366, 0.0).set_index("claim")
    assert np.isnan(table.loc["move when API spend reaches", "low"])


@pytest.mark.parametrize("tokens", [0.0, -1.0, float("nan")])
def test_a_request_of_no_tokens_is_refused(tokens):
    with pytest.raises(ValueError, match="tokens per request above 0"):
        claims_in_tokens(crossover_claims(), tokens, 0.005)


def test_an_unknown_unit_is_refused_by_name():
    strange = crossover_claims().assign(unit="EUR/month")
    with pytest.raises(ValueError, match="EUR/month"):
        claims_in_tokens(strange, 1366, 0.005)
