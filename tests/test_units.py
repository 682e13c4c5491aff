import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmstudy import units

legal = st.sampled_from([(unit, written) for unit in units.UNITS for written in units.UNITS[unit]])


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [
        ("400 ms", "s", 0.4),
        ("1.5 min", "s", 90),
        ("24 h", "s", 86_400),
        ("3 pp", "share", 0.03),
        ("80%", "share", 0.8),
        ("1 requests/s", "requests/month", 2_628_000),
        ("24 requests/day", "requests/month", 730),
        ("128 k tokens", "tokens", 128_000),
        ("60 k USD/month", "USD/month", 60_000),
        ("12 USD/year", "USD/month", 1),
        ("2 years", "months", 24),
        ("12 months", "weeks", 52),
        ("1,200,000 requests/month", "requests/month", 1_200_000),
        ("1_200_000 requests/month", "requests/month", 1_200_000),
        ("3e10 requests/month", "requests/month", 3e10),
        ("  -2.5e-1 s ", "s", -0.25),
    ],
)
def test_a_quantity_means_what_a_reader_takes_it_to_mean(text, unit, value):
    assert units.parse(text, unit) == pytest.approx(value)


@given(legal, st.floats(-1e12, 1e12))
def test_a_quantity_written_in_any_legal_unit_comes_back(pair, value):
    unit, written = pair
    text = f"{value / units.factor(written, unit)!r} {written}"
    assert units.parse(text, unit) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("unit", units.UNITS)
def test_the_unit_used_inside_is_legal_and_worth_one(unit):
    assert units.factor(unit, unit) == 1


@given(st.sampled_from(list(units.UNITS)), st.text("abcdefgxyz/", min_size=1))
def test_a_foreign_unit_is_refused_with_the_legal_ones(unit, written):
    if written in units.UNITS[unit]:
        return
    with pytest.raises(ValueError, match="but needs one of") as refused:
        units.parse(f"1 {written}", unit)
    assert all(name in str(refused.value) for name in units.UNITS[unit])


def test_a_missing_unit_is_refused_with_the_way_to_write_it():
    with pytest.raises(ValueError, match=r'is 400, but a unit is missing. Write "400 s" or "400 m'):
        units.parse("400", "s")


@pytest.mark.parametrize("text", ["", "soon", "ms", "ms 400", "--4 s", "nan s", "inf s"])
def test_what_is_not_a_number_is_refused(text):
    with pytest.raises(ValueError, match="not a number with a unit"):
        units.parse(text, "s")


@pytest.mark.parametrize("text", ["0,4 s", "1,5 s", "12,34 s", "0,400 s", "1,2000 s", "1.234,5 s"])
def test_a_decimal_comma_is_never_read_as_a_thousands_separator(text):
    with pytest.raises(ValueError, match=text.split()[0]):
        units.parse(text, "s")
