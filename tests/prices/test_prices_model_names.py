import pytest

from llmstudy.prices import same_model

ONE_MODEL = [
    ("gpt-4o-2024-08-06", "gpt-4o"),  # a log holds the dated name, the request had the other
    ("gpt-4o", "openai/gpt-4o-2024-08-06"),
    ("GPT-4o", "gpt-4o"),
    ("gpt-35-turbo", "gpt-3.5-turbo-0125"),
    ("claude-3.5-sonnet", "us.anthropic.claude-3-5-sonnet-20241022-v2:0"),
    ("claude-sonnet-4@20250514", "claude-sonnet-4"),
    ("openai/gpt-oss-120b:free", "gpt-oss-120b"),
    ("openai.gpt-oss-120b-1:0", "gpt-oss-120b"),  # as Bedrock lists it
]
TWO_MODELS = [
    ("gpt-4o-mini", "gpt-4o"),
    ("GPT-4o", "gpt-4o-mini"),
    ("gpt-4o-2024-05-13", "gpt-4o-2024-08-06"),
    ("gpt-oss-20b", "gpt-oss-120b"),
    ("llama-3.1-70b-instruct", "llama-3.3-70b-instruct"),
]


@pytest.mark.parametrize(("one", "other"), ONE_MODEL)
def test_a_prefix_a_date_or_a_spelling_makes_no_other_model(one, other):
    assert same_model(one, other)
    assert same_model(other, one)


@pytest.mark.parametrize(("one", "other"), TWO_MODELS)
def test_a_size_a_generation_or_another_date_makes_another_model(one, other):
    assert not same_model(one, other)
    assert not same_model(other, one)
