"""Redaction: what goes, what stays, and how it is measured."""

import socket
import sys
import time
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from llmstudy.evals.canaries import canary_recall, leak_rate
from llmstudy.evals.redaction import ENTITIES, Redactor, patterns, presidio

PERSONAL = {
    "EMAIL": ["jane.doe+news@mail.acme.co.uk", "mailto:jo@x.io", "jörg@bücher.de"],
    # Stripe's, Visa's and American Express's published test numbers
    "CARD": ["4242 4242 4242 4242", "4111111111111111", "3782-822463-10005"],
    # the examples of the IBAN Registry
    "IBAN": ["GB29 NWBK 6016 1331 9268 19", "DE89370400440532013000", "NO93 8601 1117 947"],
    "SSN": ["123-45-6789", "SSN: 123456789"],
    "IP": ["192.0.2.17", "2001:db8::ff00:42:8329", "fe80::1ff:fe23:4567:890a"],
    "URL": ["https://example.com/a?b=c#d", "www.example.com/path", "postgres://u:p@db.local/x"],
    "PHONE": ["+1 415 555 2671", "(415) 555-2671", "+49 (0)89 1234-567", "Tel.: 089 1234567"],
    "KEY": [
        "sk-proj-abcdEFGH1234567890abcdEFGH",
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "Authorization: Bearer abcdefghij0123456789",
        "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg\n-----END PRIVATE KEY-----",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N",
    ],
}

ORDINARY = [
    "Order 4512-8837-2210 of 2026-11-02 09:30:15, invoice 20261102-0047",
    "total 1,234.56 EUR (1.234,56), ratio 3.14159, 10 000 000, 5,000,000,000",
    "version 2.10.3, build 10.0.19041.1, version 1.2.3.4, v1.2.3.4, python 3.11.4",
    "uuid 123e4567-e89b-12d3-a456-426614174000 and sha 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
    "ticket #483920194, SKU 0451-2231-99, ISBN 978-3-16-148410-0, EAN 4006381333931",
    "at 1795439759.159182 or 1795439759159, 12:30:45, 02.11.2026, 01/02/2026 100",
    "std::vector<int> a[::2] MAC 00:1A:2B:3C:4D:5E, call 911, phone 12, @mention",
    "skip-connection, risk-adjusted-return-model, ask-the-expert-session-notes",
    "4242 4242 4242 4243",  # the check digit is wrong
    "GB29 NWBK 6016 1331 9268 18",
    "000-45-6789",
]


@pytest.mark.parametrize(("entity", "text"), [(e, t) for e, ts in PERSONAL.items() for t in ts])
def test_personal_data_and_keys_give_way_to_a_pseudonym(entity, text):
    redacted = Redactor().redact(f"Please note {text} now")
    assert f"<{entity}_1>" in redacted
    assert redacted.startswith("Please note ")
    assert redacted.endswith(" now")


@pytest.mark.parametrize("text", ORDINARY)
def test_orders_dates_amounts_versions_and_hashes_stay(text):
    assert Redactor().redact(text) == text


def test_a_value_has_one_pseudonym_in_all_texts_however_it_is_written():
    redactor = Redactor()
    prompt = redactor.redact("Card 4242 4242 4242 4242 of Jo@Acme.com, +1 415-555-2671")
    answer = redactor.redact("4242424242424242 is jo@acme.com's; 0014155552671 is no card")
    assert prompt == "Card <CARD_1> of <EMAIL_1>, <PHONE_1>"
    assert answer == "<CARD_1> is <EMAIL_1>'s; 0014155552671 is no card"
    assert redactor.redact("jim@acme.com") == "<EMAIL_2>"


def test_texts_within_json_are_redacted_and_its_form_stays():
    messages = [{"role": "user", "content": [{"type": "text", "text": "I am a@b.com"}], "n": 5}]
    content = Redactor().redacted(messages)[0]
    assert content == {
        "role": "user",
        "content": [{"type": "text", "text": "I am <EMAIL_1>"}],
        "n": 5,
    }


@given(st.text(max_size=200), st.sampled_from([t for ts in PERSONAL.values() for t in ts]))
def test_a_redacted_text_has_nothing_left_to_redact(text, personal):
    redactor = Redactor()
    once = redactor.redact(f"{text} {personal} {text}")
    assert redactor.redact(once) == once


def test_the_recall_of_canaries_is_high_and_has_wilsons_interval():
    recall = canary_recall(Redactor(), 400, np.random.default_rng(11)).set_index("entity")
    assert list(recall.index) == list(ENTITIES)
    phone = proportion_confint(recall.loc["PHONE", "redacted"], 400, method="wilson")
    assert tuple(recall.loc["PHONE", ["low", "high"]]) == pytest.approx(phone)
    assert (recall.drop(index="PHONE")["recall"] > 0.99).all()
    # digits alone, without a word that says what they are, are not taken for a phone number
    assert 0.9 < recall.loc["PHONE", "recall"] < 1
    assert recall.loc["PHONE", "missed"] == "0171~######"
    assert leak_rate(recall.reset_index()).high < 0.02


def test_canaries_leak_through_a_redactor_that_sees_nothing():
    blind = canary_recall(Redactor(lambda text: []), 50, np.random.default_rng(3))
    assert (blind["recall"] == 0).all()
    assert leak_rate(blind).estimate == 1


def test_a_redactor_that_leaves_half_a_value_leaks():
    halves = canary_recall(Redactor(_first_halves), 50, np.random.default_rng(3))
    assert (halves["recall"] < 0.1).all()


def _first_halves(text):
    for span in patterns(text):
        yield span._replace(end=span.start + (span.end - span.start) // 2)


def test_a_text_of_a_kilobyte_takes_a_millisecond_at_most():
    text = ("The customer of order 4512 from 2026-11-02 asks for 1,234.56 EUR. " * 16)[:1000]
    redactor = Redactor()
    times = []
    for _ in range(50):
        begun = time.perf_counter()
        redactor.redact(text)
        times.append(time.perf_counter() - begun)
    assert min(times) < 1e-3


def test_hostile_texts_take_no_longer_than_others_of_their_length():
    redactor = Redactor()
    for unit in (
        "a.",
        "1 ",
        "0 1",
        "+1",
        "a@",
        "sk-",
        "DE12 ",
        "a:",
        "1.",
        "(0",
        "@a.",
        "eyJaaaaaaaa.",
    ):
        text = unit * (20_000 // len(unit))
        begun = time.perf_counter()
        redactor.redact(text)
        assert time.perf_counter() - begun < 2, unit


# --- presidio: a module that answers as presidio-analyzer 2.2.366 does --------------------


class _SpacyNlpEngine:
    def __init__(self, models):
        self.models, self.nlp = models, None


class _Registry:
    def __init__(self, supported_languages):
        self.languages = supported_languages

    def load_predefined_recognizers(self, languages, nlp_engine):
        assert languages == self.languages
        assert nlp_engine.nlp is not None, "NLP engine is not loaded. Consider calling .load()"
        self.engine = nlp_engine


class _Analyzer:
    def __init__(self, registry, nlp_engine, supported_languages):
        assert registry.engine is nlp_engine
        assert nlp_engine.nlp == {"en": "blank en"}

    def analyze(self, text, language, score_threshold):
        assert language == "en"
        hits = [("EMPLOYEE_ID", "E-1234", 0.85), ("EMAIL_ADDRESS", "jo@acme.com", 1.0)]
        hits += [("US_DRIVER_LICENSE", "1234", 0.01), ("DATE_TIME", "2026-11-20", 0.6)]
        for entity, value, score in hits:
            if value in text and score >= score_threshold:
                start = text.index(value)
                yield SimpleNamespace(
                    entity_type=entity, start=start, end=start + len(value), score=score
                )


@pytest.fixture
def fake_presidio(monkeypatch):
    spacy, tldextract = ModuleType("spacy"), ModuleType("tldextract")
    spacy.blank = lambda language: f"blank {language}"
    tldextract.TLDExtract = lambda **options: options
    tldextract.extract = "dials out"
    analyzer, engine = ModuleType("presidio_analyzer"), ModuleType("presidio_analyzer.nlp_engine")
    analyzer.AnalyzerEngine, analyzer.RecognizerRegistry = _Analyzer, _Registry
    engine.SpacyNlpEngine = _SpacyNlpEngine
    for module in (spacy, tldextract, analyzer, engine):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return tldextract


def test_presidio_adds_its_recognisers_without_the_network(fake_presidio):
    redactor = Redactor(patterns, presidio())
    redacted = redactor.redact("E-1234 is jo@acme.com of 192.0.2.1 since 2026-11-20")
    assert redacted == "<EMPLOYEE_ID_1> is <EMAIL_1> of <IP_1> since 2026-11-20"
    assert fake_presidio.extract == {"suffix_list_urls": (), "cache_dir": None}


def test_the_real_presidio_adds_its_recognisers_without_the_network(monkeypatch):
    pytest.importorskip("presidio_analyzer")

    def refused(*_, **__):
        raise AssertionError("presidio dials out")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    text = (
        "Jane, jane.doe@example.co.uk, card 4111 1111 1111 1111, IP 10.0.0.12, since 2026-11-20, "
        "wallet 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"
    )
    redacted = Redactor(patterns, presidio()).redact(text)
    assert redacted == (
        "Jane, <EMAIL_1>, card <CARD_1>, IP <IP_1>, since 2026-11-20, wallet <CRYPTO_1>"
    )
    alone = {span.entity for span in presidio()(text)}
    assert {"EMAIL", "CARD", "IP", "CRYPTO"} <= alone


def test_without_presidio_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    with pytest.raises(ValueError, match=r"pip install 'llmstudy\[pii\]'"):
        presidio()
