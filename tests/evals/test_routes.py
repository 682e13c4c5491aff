from datetime import UTC, date, datetime

import pytest

from llmstudy.evals.routes import route, route_of
from llmstudy.prices import rate

ON = datetime(2026, 11, 20, 12, tzinfo=UTC)
LOCAL = "http://127.0.0.1:8000/v1"


def test_a_listed_model_costs_what_its_list_says_on_the_day_of_the_call():
    listed = rate("openai", "gpt-4o", date(2026, 11, 20))
    to = route("api", "https://api.openai.com/v1", "gpt-4o")
    usd = to.usd([1_000_000], [250_000], [100_000], ON)
    fresh = 0.75 * listed.input_usd_per_mtok + 0.25 * listed.cached_input_usd_per_mtok
    # in one prompt, whose context tier is the lowest: gpt-4o has no other
    assert usd == pytest.approx(fresh + 0.1 * listed.output_usd_per_mtok)
    argon = route("argon", "https://generativelanguage.googleapis.com/v1", "gemini-4-argon")
    before, after = (argon.usd([1_000], [0], [1_000], day) for day in (ON, ON.replace(month=12)))
    assert after > before  # its rate changes on 1 December 2026


def test_a_long_prompt_costs_the_rate_of_its_context_tier():
    to = route("pro", "https://generativelanguage.googleapis.com/v1", "gemini-2.5-pro")
    short, long = (to.usd([n], [0], [0], ON) for n in (100_000, 300_000))
    assert long == pytest.approx(6 * short)  # three times the tokens at twice the rate


def test_a_stated_price_needs_no_list_and_a_private_server_none():
    assert route("own", LOCAL, "m", price=(0.5, 2.0)).usd([2_000_000], [0], [1_000_000], ON) == 3.0
    assert not route("own", LOCAL, "m").billed
    with pytest.raises(ValueError, match=r"the price of api.example.com is missing"):
        route("host", "https://api.example.com/v1", "m")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("open", "write 'NAME url=https://HOST/v1 model=MODEL'"),
        ("", "write 'NAME"),
        ("open url='", "No closing quotation"),
        (f"url={LOCAL} model=m", "write 'NAME"),
        (f"open url={LOCAL}", "write 'NAME"),
        (f"open url={LOCAL} model=m prise=1,2", "write 'NAME"),
        (f"open url={LOCAL} model=m price=1", "route open: "),
        (f"open url={LOCAL} model=m body=[1]", "route open: must be a JSON object"),
        (f"open url={LOCAL} model=m key_env=ABSENT_KEY", "route open: ABSENT_KEY is not set"),
        (f"open url={LOCAL} model=m drop=model", "route open: --drop model"),
        ("open url=http://user:key@host/v1 model=m", "route open: the endpoint's address may hold"),
    ],
)
def test_a_line_that_is_no_route_is_refused_with_what_to_write(line, sentence):
    with pytest.raises(ValueError, match=sentence):
        route_of(line)


def test_a_line_has_all_that_a_route_has(monkeypatch):
    monkeypatch.setenv("KEY", "k")
    to = route_of(
        f"open url={LOCAL} model='a b' key_env=KEY price=1,2 drop=max_tokens,stream_options "
        """body='{"temperature": 0, "seed": 7}'"""
    )
    assert (to.name, to.endpoint.model, to.endpoint.key_env) == ("open", "a b", "KEY")
    assert to.endpoint.drop == ("max_tokens", "stream_options")
    assert to.endpoint.body == {"temperature": 0, "seed": 7}
    assert to.price.usd_per_mtok == (1.0, 1.0, 2.0)
