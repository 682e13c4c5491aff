import numpy as np
import pandas as pd
import pytest

from llmstudy import uncertainty as mc
from llmstudy.assess.case import open_case
from llmstudy.assess.cost import cost_tables
from llmstudy.assess.hosting import hosting_tables
from llmstudy.assess.items import cost_items
from llmstudy.assess.market import figures_of, market, pair_inputs
from llmstudy.canonical import plain
from llmstudy.study import load


@pytest.fixture(scope="module")
def priced():
    case = open_case(load("params/default.yaml"))
    return case.study, market(plain(cost_tables(case)), plain(hosting_tables(case)))


MOVE = {"extraction": "h200-llama-3.1-70b"}


def test_the_items_of_a_month_add_up_to_its_bill(priced):
    study, offers = priced
    rows = pd.DataFrame(cost_items(study, offers, MOVE))
    d = mc.central(figures_of(pair_inputs(study, offers, "extraction", MOVE["extraction"])))
    requests = mc.volumes(d, 1)
    stay = mc.month_usd(offers.offer("extraction", "openai-gpt-4o"), mc.of_today(d), requests, 1)
    fleet = mc.month_usd(offers.offer("extraction", MOVE["extraction"]), d, requests, 1)
    monthly = rows[~rows["item"].str.contains("over the horizon")]
    found = monthly.groupby("side")["usd_month"].sum()
    assert found["api"] == pytest.approx(stay[0, 0])
    assert found["self_hosted"] == pytest.approx(fleet[0, 0] + mc.staff_month_usd(d)[0])


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
