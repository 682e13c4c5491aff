import numpy as np
import pandas as pd
import pytest

from llmstudy import simulate
from llmstudy.figure import Figure
from llmstudy.simulate.breakdown import cost_items
from llmstudy.simulate.inputs import figures_of, pair_inputs

MOVE = {"extraction": "h200-llama-3.1-70b"}


def test_the_items_of_a_month_add_up_to_its_bill(priced):
    study, offers = priced
    rows = pd.DataFrame(cost_items(study, offers, MOVE))
    d = simulate.central(figures_of(pair_inputs(study, offers, "extraction", MOVE["extraction"])))
    requests = simulate.volumes(d, 1)
    stay = simulate.month_usd(
        offers.offer("extraction", "openai-gpt-4o"), simulate.of_today(d), requests, 1
    )
    fleet = simulate.month_usd(offers.offer("extraction", MOVE["extraction"]), d, requests, 1)
    monthly = rows[~rows["item"].str.contains("over the horizon")]
    found = monthly.groupby("side")["usd_month"].sum()
    assert found["api"] == pytest.approx(stay[0, 0])
    assert found["self_hosted"] == pytest.approx(fleet[0, 0] + simulate.staff_month_usd(d)[0])


def test_what_is_paid_once_is_spread_over_the_horizon(priced):
    study, offers = priced
    rows = pd.DataFrame(cost_items(study, offers, MOVE)).set_index("item")
    once = rows.loc["migration, over the horizon", "usd_month"]
    assert once * study.months == pytest.approx(study.moving["self_hosted"].cost.value)


def test_every_item_bears_a_grade_and_none_is_negative(priced):
    study, offers = priced
    rows = pd.DataFrame(cost_items(study, offers, MOVE))
    assert rows["grade"].isin(["measured", "published", "secondary", "assumed"]).all()
    assert (rows["usd_month"] >= 0).all()
    assert np.isfinite(rows["usd_month"]).all()


def test_a_regional_premium_is_an_item_of_its_own_and_the_items_still_add_up(priced):
    study, offers = priced
    plain = pd.DataFrame(cost_items(study, offers, MOVE)).query("side == 'api'")
    route = study.routes["openai-gpt-4o"].model_copy(
        update={"regional_premium": Figure("", 1.1, "factor")}
    )
    inside = study.model_copy(update={"routes": {**study.routes, "openai-gpt-4o": route}})
    # the premium is in the offers already, since it is on the price of each request
    found = pd.DataFrame(cost_items(inside, offers, MOVE)).query("side == 'api'")
    assert found["usd_month"].sum() == pytest.approx(plain["usd_month"].sum())
    tokens = plain.set_index("item").loc[
        ["prompts, caching included", "answers, reasoning included", "retries"], "usd_month"
    ]
    premium = found.set_index("item").loc["regional premium", "usd_month"]
    assert premium == pytest.approx(tokens.sum() * 0.1 / 1.1)
    assert "regional premium" not in set(plain["item"])
