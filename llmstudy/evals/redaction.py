"""Which parts of a text are personal data or keys? They give way to pseudonyms before it is stored.

A value has the same pseudonym in all texts of a `Redactor`, `<EMAIL_1>`, so that a prompt and its
answers still fit together and stay scorable. Own patterns are the default; `presidio` adds the
recognisers of that library. Neither sees names of people; `canaries` measures what leaks.
"""

import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any, NamedTuple


class Span(NamedTuple):
    """A part of a text to replace, and what it is. value: the same for all its forms."""

    start: int
    end: int
    entity: str
    value: str


Detector = Callable[[str], Iterable[Span]]
"""Lists the spans of a text, in any order; they may overlap."""


class Redactor:
    """Replaces what its detectors see by pseudonyms, the same for the same value in all its texts.

    detectors: `patterns` alone by default. counts: values that were replaced, by entity.

    >>> redactor = Redactor()
    >>> redactor.redact("Jane <jane@acme.com> wrote to joe@acme.com, JANE@acme.com answered")
    'Jane <<EMAIL_1>> wrote to <EMAIL_2>, <EMAIL_1> answered'
    >>> redactor.counts["EMAIL"], redactor.distinct["EMAIL"]
    (3, 2)
    """

    def __init__(self, *detectors: Detector) -> None:
        self.detectors = detectors or (patterns,)
        self._pseudonyms: dict[tuple[str, str], str] = {}
        self.counts: Counter[str] = Counter()

    @property
    def distinct(self) -> Counter[str]:
        """Different values that were replaced, by entity."""
        return Counter(entity for entity, _ in self._pseudonyms)

    def redact(self, text: str) -> str:
        """The text with pseudonyms; of spans that overlap, that of the first, and of the longer."""
        spans = sorted(
            (span for detector in self.detectors for span in detector(text)),
            key=lambda span: (span.start, -span.end),
        )
        if not spans:
            return text
        parts, at = [], 0
        for span in spans:
            if span.start >= at:
                parts += [text[at : span.start], self._pseudonym(span)]
                self.counts[span.entity] += 1
            # of a span that overlaps, what lies beyond the one before it goes too
            at = max(at, span.end)
        return "".join([*parts, text[at:]])

    def redacted(self, value: Any) -> Any:
        """A value of JSON with every text in it redacted; keys of objects stay."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, Mapping):
            return {key: self.redacted(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [self.redacted(each) for each in value]
        return value

    def _pseudonym(self, span: Span) -> str:
        key = (span.entity, span.value)
        if key not in self._pseudonyms:
            self._pseudonyms[key] = f"<{span.entity}_{self.distinct[span.entity] + 1}>"
        return self._pseudonyms[key]


# --- patterns ------------------------------------------------------------------------------------


class _Pattern(NamedTuple):
    """A form of an entity. hints: it is not searched for in a text without one of them. group: the
    part that is replaced. value: its plain form, None where it is not what it looks like."""

    entity: str
    form: re.Pattern[str]
    hints: tuple[str, ...] = ()
    value: Callable[[str], str | None] = str
    group: int = 0


def _digits(text: str) -> str:
    return re.sub(r"\D", "", text)


def _phone(least: int) -> Callable[[str], str | None]:
    def value(text: str) -> str | None:
        digits = _digits(text)
        return digits.removeprefix("00") if least <= len(digits) <= 17 else None

    return value


def _card(text: str) -> str | None:
    """Digits with a right check digit. Source: ISO/IEC 7812-1, annex B (Luhn)."""
    digits = _digits(text)
    doubled = (int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits)))
    return digits if sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0 else None


_IBAN_LENGTHS = {
    country: length
    for length, countries in {
        **{15: "NO", 16: "BE", 18: "DK FI FO GL NL SD", 19: "MK SI", 20: "AT BA EE KZ LT LU MN XK"},
        **{21: "CH HR LI LV", 22: "BG BH CR DE GB GE IE ME RS VA", 23: "AE GI IL IQ OM SO TL"},
        **{24: "AD CZ ES MD PK RO SA SE SK TN VG", 25: "LY PT ST", 26: "IS TR", 27: "BI DJ FR"},
        **{28: "AL AZ BY CY DO GT HU LB NI PL SV", 29: "BR EG PS QA UA", 30: "JO KW MU YE"},
        **{31: "MT SC", 32: "LC", 33: "RU"},
    }.items()
    for country in countries.split()
} | {"GR": 27, "IT": 27, "MC": 27, "MR": 27, "SM": 27}
"""Characters of an account number by country. Source: SWIFT, IBAN Registry, release 99."""


def _iban(text: str) -> str | None:
    """An account number with right check digits. Source: ISO 13616-1; ISO/IEC 7064, MOD 97-10."""
    plain = re.sub(r"[ -]", "", text).upper()
    if len(plain) != _IBAN_LENGTHS.get(plain[:2]):
        return None
    number = "".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])
    return plain if int(number) % 97 == 1 else None


def _ip(text: str) -> str | None:
    try:
        return str(ip_address(text))
    except ValueError:
        return None


_END = r"(?![\w/-]|\.\d)"
_PHONE_WORDS = (
    r"(?i:(?<!\w)(?:tel|telefon|telephone|téléphone|teléfono|phone|mobile|mobil|cell|handy|fax|"
    r"whatsapp|portable|móvil|call|hotline)(?:[ .]*(?:no|nr|number|nummer|numéro|número))?"
    r"[\s.:#=\"']{1,4}(?:(?:is|me at|us at|me on|at|on|ist|est|es)\s+)?)"
)
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"

_PATTERNS = (
    _Pattern(
        "KEY",
        re.compile(
            r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,20}KEY-----|\Z)", re.S
        ),
        ("PRIVATE KEY-----",),
    ),
    _Pattern(
        "KEY",
        re.compile(
            r"(?<![A-Za-z0-9])(?:[sr]k[-_][A-Za-z0-9_-]{16,}|(?:AKIA|ASIA)[0-9A-Z]{16}"
            r"|gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|glpat-[\w-]{20,}|xox[abeoprs]-[\w-]{10,}"
            r"|AIza[\w-]{35}|hf_[A-Za-z0-9]{30,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*)"
        ),
        ("k-", "k_", "AKIA", "ASIA", "gh", "github", "glpat-", "xox", "AIza", "hf_", "eyJ"),
    ),
    _Pattern(
        "KEY", re.compile(r"[Bb]earer[ \t]+([\w.~+/-]{16,}=*)"), ("Bearer", "bearer"), group=1
    ),
    _Pattern(
        "URL",
        re.compile(
            r"(?<![A-Za-z0-9])(?:[A-Za-z][A-Za-z0-9+.-]{1,20}://|www\.(?=[^\s.]+\.))"
            r"[^\s<>\"'`{}|\\^]*[^\s<>\"'`{}|\\^.,;:!?)\]*]"
        ),
        ("://", "www."),
    ),
    _Pattern(
        "EMAIL",
        re.compile(
            r"(?<![\w.+%-])[\w.+-](?:[\w.+'%-]{0,63}(?:@|%40))"
            r"(?:[^\W_](?:[\w-]{0,62}[^\W_])?\.){1,8}[^\W\d_]{2,24}(?![\w-]*@)"
        ),
        ("@", "%40"),
        lambda text: text.lower().replace("%40", "@"),
    ),
    _Pattern(
        "IBAN",
        re.compile(
            r"(?<![A-Za-z0-9])(?=[A-Z]{2}\d\d)(?:"
            + "|".join(
                f"(?:{'|'.join(c for c, n in _IBAN_LENGTHS.items() if n == length)})"
                rf"\d\d(?:[ -]?[A-Za-z0-9]){{{length - 4}}}"
                for length in sorted({*_IBAN_LENGTHS.values()})
            )
            + r")(?![A-Za-z0-9])",
            re.I,
        ),
        value=_iban,
    ),
    _Pattern(
        "CARD",
        re.compile(
            r"(?<![\w.-])(?:[2-6]\d{3}([ -]?)\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?"
            r"|3[47]\d\d([ -]?)\d{6}\2\d{5}|3[068]\d\d([ -]?)\d{6}\3\d{4})" + _END
        ),
        value=_card,
    ),
    _Pattern(
        "SSN",
        re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d\d-(?!0000)\d{4}" + _END),
        ("-",),
        _digits,
    ),
    _Pattern(
        "SSN",
        re.compile(
            r"(?i:\bssn|social security(?: number| no\.?)?)\W{1,4}(?:is )?"
            r"((?!000|666|9)\d{3}[ -]?\d\d[ -]?\d{4})" + _END
        ),
        ("SSN", "ssn", "ecurity"),
        _digits,
        group=1,
    ),
    _Pattern(
        "IP",
        re.compile(
            r"(?<![\w.])(?<!ersion )(?<!elease )(?<!uild )"
            rf"(?:{_OCTET}\.){{3}}{_OCTET}(?![\w-]|\.\d)"
        ),
        (".",),
        _ip,
    ),
    _Pattern(
        "IP",
        re.compile(
            r"(?<![\w:.])(?=[0-9A-Fa-f]{3,4}:)[0-9A-Fa-f:]{5,39}(?:(?<=:)[\d.]{7,15})?(?![\w:])"
        ),
        (":",),
        _ip,
    ),
    _Pattern(  # +49 (0)89 1234-567
        "PHONE",
        re.compile(r"(?<![\w+])\+\d(?:[ ./-]{0,3}\(?\d\)?){6,15}(?!\w)"),
        ("+",),
        _phone(7),
    ),
    _Pattern(  # 0049 89 1234567, 020 7946 0958, 06 12 34 56 78, 089/1234567, 0171-1234567
        "PHONE",
        re.compile(
            r"(?<![\w.,/:-])\(?0(?:0[1-9]\d{0,2}|[1-9]\d{0,4})\)?"
            r"(?:(?: \d{2,8}){1,5}| ?/ ?\d{3,8}(?: \d{2,8}){0,4}|(?<=01[5-7]\d)-\d{6,8})"
            r"(?:-\d{1,4})?(?![\w/:]|[.,-]\d)"
        ),
        ("0",),
        _phone(9),
    ),
    _Pattern(  # (415) 555-0134, 415-555-0134, 1 415 555 0134
        "PHONE",
        re.compile(
            r"(?<![\w.,+/-])(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d([ .-]))"
            r"[2-9]\d\d(?(1)\1|[ .-])\d{4}" + _END
        ),
        value=lambda text: _digits(text)[-10:],
    ),
    _Pattern(
        "PHONE",
        re.compile(_PHONE_WORDS + r"(\(?\d(?:[ ./-]{0,3}\(?\d\)?){5,14})(?!\w)"),
        value=_phone(6),
        group=1,
    ),
)

_DIGITS = re.compile(r"\d(?:[^\d]{0,3}\d){5}")


def patterns(text: str) -> Iterator[Span]:
    """What looks like an e-mail address, a phone or card number, an account, an address or a key.

    Cards and accounts need right check digits. Numbers without the form of one of these stay:
    orders, dates, amounts, versions, UUIDs. Phone numbers are in international form, in that of
    North America, in a national one with spaces, or in any behind a word such as `Tel.`.
    """
    has_number = _DIGITS.search(text) is not None
    for pattern in _PATTERNS:
        if pattern.entity in _OF_DIGITS and not has_number:
            continue
        if pattern.hints and not any(hint in text for hint in pattern.hints):
            continue
        for match in pattern.form.finditer(text):
            start, end = match.span(pattern.group)
            if (value := pattern.value(text[start:end])) is not None:
                yield Span(start, end, pattern.entity, value)


_OF_DIGITS = ("CARD", "SSN", "PHONE", "IBAN")

ENTITIES = tuple(dict.fromkeys(pattern.entity for pattern in _PATTERNS))
"""What `patterns` sees."""


# --- presidio ------------------------------------------------------------------------------------

LEAST_SCORE = 0.5
"""Below it presidio's own hits are guesses: a driver's licence scores 0.01 in any number."""

_OWN_NAMES = {
    "EMAIL_ADDRESS": "EMAIL",
    "PHONE_NUMBER": "PHONE",
    "CREDIT_CARD": "CARD",
    "IBAN_CODE": "IBAN",
    "US_SSN": "SSN",
    "IP_ADDRESS": "IP",
}


def presidio(language: str = "en") -> Detector:
    """A detector with presidio's recognisers, which adds to `patterns`: `Redactor(patterns, it)`.

    It takes some 20 ms a text, needs no model of spaCy and never dials out, so it finds no names of
    people or places either. Dates stay, since answers are scored by them.
    Raises: ValueError if the extra `pii` is not installed.
    Source: presidio-analyzer 2.2.366.
    """
    try:
        import spacy
        import tldextract
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
        from presidio_analyzer.nlp_engine import SpacyNlpEngine
    except ImportError as error:
        raise ValueError(
            f"presidio is not installed ({error.name} is missing): pip install 'llmstudy[pii]'"
        ) from None

    class BlankEngine(SpacyNlpEngine):  # type: ignore[misc]
        """Tokens of a language without its model, which would have to be downloaded."""

        def __init__(self) -> None:
            super().__init__(models=[{"lang_code": language, "model_name": "blank"}])

        def load(self) -> None:
            self.nlp = {language: spacy.blank(language)}

    # else its recogniser of e-mail fetches the list of public suffixes: presidio issue 1205
    tldextract.extract = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    engine = BlankEngine()
    engine.load()
    # of its recognisers for other countries it would say one by one that they are not for this one
    logging.getLogger("presidio-analyzer").setLevel(logging.ERROR)
    registry = RecognizerRegistry(supported_languages=[language])
    registry.load_predefined_recognizers(languages=[language], nlp_engine=engine)
    analyzer = AnalyzerEngine(registry=registry, nlp_engine=engine, supported_languages=[language])

    def spans(text: str) -> Iterator[Span]:
        for hit in analyzer.analyze(text=text, language=language, score_threshold=LEAST_SCORE):
            if hit.entity_type == "DATE_TIME":
                continue
            entity = _OWN_NAMES.get(hit.entity_type, hit.entity_type)
            yield Span(hit.start, hit.end, entity, " ".join(text[hit.start : hit.end].split()))

    return spans
