"""Scores of one answer: pure functions of the answer's text and its item.

Each takes `(answer, item)` and returns a `Score`. An answer from which nothing can be taken, and a
scorer that fails, give no score, which is not a wrong answer: a rate of wrong answers must not
contain the faults of its scorer. Nothing here runs text as code.

The item is a mapping; what a scorer reads of it is in `NEEDS`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from llmstudy.evals.extract import bare, extract, json_value, normalised
from llmstudy.evals.numbers import Number, numbers

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Score:
    """The score of an answer, higher is better; a value of None is not scored.

    extracted: whether an answer could be taken from the text. answer: as it was scored.
    """

    value: float | None
    extracted: bool = True
    answer: str | None = None
    reason: str = ""

    @property
    def scored(self) -> bool:
        """Whether there is a value."""
        return self.value is not None


Scorer = Callable[[str, Item], Score]

NEEDS = {
    "exact": ("reference",),
    "numeric": ("reference",),
    "choice": ("reference",),
    "json_schema": ("schema",),
    "regex": ("pattern",),
    "contains_citation": ("citations",),
    "lexical_support": ("context",),
}
"""Fields that an item must have for a scorer."""


def scorer(name: str) -> Scorer:
    """A scorer by its name. Raises: ValueError with the names for an unknown one.

    >>> scorer("numeric")("It costs $20.00.", {"reference": 20}).value
    1.0
    """
    if name not in NEEDS:
        raise ValueError(f"no scorer {name!r}: choose one of {', '.join(NEEDS)}")
    chosen: Scorer = globals()[name]
    return chosen


def name_of(scorer: Any) -> str:
    """Name of a scorer, as its rows have it."""
    return str(getattr(scorer, "name", None) or getattr(scorer, "__name__", None) or scorer)


def check_items(items: Sequence[Item], scorer: Scorer) -> None:
    """Checks that a scorer can score the items, before any is paid for. Returns nothing.

    Raises: ValueError that names the first items without a field that the scorer reads, or with a
    schema or a pattern that is none.
    """
    name = name_of(scorer)
    for need in NEEDS.get(name, ()):
        without = [str(item["item_id"]) for item in items if item.get(need) in (None, "", [])]
        if without:
            raise ValueError(
                f"{len(without)} of {len(items)} items have no {need} (first: "
                f"{', '.join(without[:3])}), which the scorer {name} reads: add it, or leave them "
                "out"
            )
    for item in items:
        try:
            if name == "json_schema":
                _validator(json.dumps(item["schema"]))
            elif name == "regex":
                re.compile(str(item["pattern"]))
            elif name in ("numeric", "choice"):
                _reference(name, item)
        except Exception as error:
            raise ValueError(f"item {item['item_id']}: {_first_line(error)}") from error


def score(scorer: Scorer, answer: str | None, item: Item) -> Score:
    """The score of an answer; a scorer that fails gives none, with its error as the reason.

    >>> score(lambda answer, item: Score(1 / 0), "4", {}).reason
    'the scorer failed: ZeroDivisionError: division by zero'
    """
    if answer is None or not answer.strip():
        return Score(None, False, None, "the answer is empty")
    try:
        given = scorer(answer, item)
    except Exception as error:
        fault = f"the scorer failed: {type(error).__name__}: {_first_line(error)}"
        return Score(None, False, None, fault)
    if not isinstance(given, Score):
        return Score(None, False, None, f"the scorer returned a {type(given).__name__}, no Score")
    if given.value is not None and not abs(given.value) < float("inf"):
        return Score(None, given.extracted, given.answer, f"the scorer returned {given.value}")
    return given


def _references(item: Item) -> list[Any]:
    reference = item["reference"]
    return list(reference) if isinstance(reference, list | tuple) else [reference]


# ---- scorers -----------------------------------------------------------------------------------


def exact(answer: str, item: Item) -> Score:
    """1 where the answer is the reference, or one of several, but for case, spacing and quotes.

    >>> exact("Label: Refund.", {"reference": "refund"}).value
    1.0
    """
    references = {normalised(str(reference)) for reference in _references(item)}
    text = extract(answer).text
    given = answer if normalised(answer) in references else text
    right = normalised(given) in references
    shown = bare(given)
    return Score(float(right), True, shown, "" if right else f"not {sorted(references)[0]!r}")


def numeric(answer: str, item: Item) -> Score:
    """1 where the answer's number is the reference's, within the item's `tolerance` (absolute).

    The number is the one marked as the answer, else the last of the text; decimals, thousands,
    percent, fractions and words such as million are read as written. A number that can be read in
    two ways, such as 1,5, is not scored. A percentage equals its number and its share.

    >>> numeric("So she pays $1,020.00 in all.", {"reference": 1020}).value
    1.0
    >>> numeric("about 1,5", {"reference": 1.5}).reason
    "'1,5' can be read in two ways"
    """
    wanted = [_reference("numeric", item, reference) for reference in _references(item)]
    given = _answer_number(answer)
    if given is None:
        return Score(None, False, None, "no number in the answer")
    if given.value is None:
        return Score(None, False, given.text, f"{given.text!r} can be read in two ways")
    tolerance = Fraction(str(item.get("tolerance") or 0))
    right = any(
        abs(mine - theirs) <= tolerance
        for one in wanted
        for mine, theirs in _comparable(given, one)
    )
    return Score(float(right), True, given.text, "" if right else f"not {wanted[0].text}")


def choice(answer: str, item: Item) -> Score:
    """1 where the letter chosen is the reference's, or that of one of several.

    The item's `choices` are texts, in the order of the letters, or a mapping of letters to texts;
    without them the letters are A to J. The letter is the one marked as the answer, or stands by
    itself, or the answer is the text of a choice. A text that merely begins with a letter chooses
    nothing.

    >>> item = {"reference": "B", "choices": ["red", "blue"]}
    >>> [choice(text, item).value for text in ("(B)", "B. blue", "The answer is B", "Blue", "A")]
    [1.0, 1.0, 1.0, 1.0, 0.0]
    >>> choice("A good question: it depends.", item).reason
    'no choice in the answer'
    """
    texts = _choices(item)
    wanted = {_reference("choice", item, reference) for reference in _references(item)}
    letter = _letter(answer, texts)
    if letter is None:
        return Score(None, False, None, "no choice in the answer")
    right = letter in wanted
    return Score(float(right), True, letter, "" if right else f"not {' or '.join(sorted(wanted))}")


def json_schema(answer: str, item: Item) -> Score:
    """1 where the answer is JSON that the item's `schema` allows; a fenced block counts as JSON.

    An answer without JSON is not valid: that is what this scorer measures.

    >>> schema = {"type": "object", "required": ["label"]}
    >>> json_schema('{"label": 1}', {"schema": schema}).value
    1.0
    >>> json_schema('{"lable": 1}', {"schema": schema}).reason
    "at the top: 'label' is a required property"
    """
    value = json_value(answer)
    if value is None and answer.strip() != "null":
        return Score(0.0, True, None, "it is not JSON")
    shown = json.dumps(value, ensure_ascii=False)
    faults = sorted(_validator(json.dumps(item["schema"])).iter_errors(value), key=str)
    if not faults:
        return Score(1.0, True, shown)
    place = ".".join(map(str, faults[0].absolute_path)) or "the top"
    return Score(0.0, True, shown, f"at {place}: {_first_line(faults[0].message)}")


def regex(answer: str, item: Item) -> Score:
    """1 where the item's `pattern` occurs in the answer.

    >>> regex("Order 4711 was refunded.", {"pattern": "[Oo]rder 47[0-9]+"}).answer
    'Order 4711'
    """
    match = re.search(str(item["pattern"]), answer)
    if match is None:
        return Score(0.0, True, None, f"without {item['pattern']}")
    return Score(1.0, True, match[0])


def contains_citation(answer: str, item: Item) -> Score:
    """1 where the answer cites one of the item's `citations` and no source that it was not given.

    Citations are names in brackets, such as [doc-3] or [1, 2]. The sources given are the
    `citations` and the ids of a `context` that is a list of `{id, text}`.

    >>> item = {"citations": ["doc-3"]}
    >>> [contains_citation(t, item).value for t in ("Yes [doc-3].", "Yes [doc-9][doc-3].", "Yes.")]
    [1.0, 0.0, 0.0]
    """
    wanted = {str(name).casefold() for name in item["citations"]}
    context = item.get("context")
    parts = context if isinstance(context, list) else []
    given = wanted | {str(p["id"]).casefold() for p in parts if isinstance(p, dict) and "id" in p}
    cited = list(
        dict.fromkeys(
            name.strip().casefold()
            for group in _CITED.findall(answer)
            for name in re.split(r"[,;]", group)
        )
    )
    shown = ", ".join(cited) or None
    if invented := [name for name in cited if name not in given]:
        return Score(0.0, True, shown, f"cites {invented[0]}, which it was not given")
    if not wanted.intersection(cited):
        return Score(0.0, True, shown, f"cites none of {', '.join(sorted(wanted))}")
    return Score(1.0, True, shown)


def lexical_support(answer: str, item: Item) -> Score:
    """Share of the answer's different content words and numbers that occur in its `context`.

    It counts words: a true paraphrase scores low and a false sentence made of the context's words
    scores high. It says nothing of truth. Without content words there is no score.

    >>> item = {"context": "The refund of 1,000.00 euros was paid on Monday."}
    >>> round(lexical_support("A refund of 1000 euros was paid on Friday.", item).value, 2)
    0.8
    """
    words = _content(answer)
    if not words:
        return Score(None, False, None, "no content words in the answer")
    absent = sorted(words - _content(_context_text(item["context"])))
    value = 1 - len(absent) / len(words)
    return Score(
        value, True, None, f"not in the context: {', '.join(absent[:5])}" if absent else ""
    )


_CITED = re.compile(r"[\[【]([^\[\]【】\n]{1,80})[\]】]")


# ---- numbers and choices ------------------------------------------------------------------------


def _answer_number(answer: str) -> Number | None:
    """The number marked as the answer, the first after its last `=`; else the text's last."""
    text, marked = extract(answer)
    if marked and (read := numbers(text.rpartition("=")[2]) or numbers(text)):
        return read[0]
    read = numbers(answer)
    return read[-1] if read else None


def _comparable(a: Number, b: Number) -> Iterator[tuple[Fraction, Fraction]]:
    """The pairs of values by which two numbers may be equal."""
    assert a.value is not None
    assert b.value is not None
    yield a.value, b.value
    if a.percent and not b.percent:
        yield a.value / 100, b.value
    if b.percent and not a.percent:
        yield a.value, b.value / 100


def _reference(kind: str, item: Item, reference: Any = None) -> Any:
    """The reference of a scorer, read. Raises: ValueError if it cannot be."""
    if reference is None:
        return [_reference(kind, item, one) for one in _references(item)]
    if kind == "numeric":
        read = numbers(str(reference))
        if len(read) != 1 or read[0].value is None:
            raise ValueError(f"reference {reference!r} is not one number: write it as in 1020.50")
        return read[0]
    texts, given = _choices(item), normalised(str(reference))
    of_text = [letter for letter, text in texts.items() if text and normalised(text) == given]
    letter = given.strip("()").upper()
    if letter in texts:
        return letter
    if len(of_text) == 1:
        return of_text[0]
    raise ValueError(f"reference {reference!r} is none of the choices {', '.join(texts)}")


def _choices(item: Item) -> dict[str, str]:
    """The choices by letter, with their text where the item has it."""
    given = item.get("choices")
    if isinstance(given, Mapping):
        return {str(letter).upper(): str(text) for letter, text in given.items()}
    if given:
        return {chr(ord("A") + place): str(text) for place, text in enumerate(given)}
    return dict.fromkeys("ABCDEFGHIJ", "")


def chance(item: Item) -> float | None:
    """The score that guessing has on an item with choices; None on another.

    >>> chance({"choices": ["red", "blue", "green", "white"]})
    0.25
    """
    n = len(item.get("choices") or ())
    return 1 / n if n > 1 else None


_ALONE = re.compile(
    r"(?:option|choice|answer)?\s*[\(\[\*_`\"']*([A-Z])[\)\]\*_`\"']*[.:]?", re.I | re.ASCII
)
"""A letter by itself, in brackets or emphasis, with a stop."""
_LABEL = re.compile(
    r"(?:(?<=^)|(?<=[\s(\[*_`\"']))[\(\[\*_`\"']{0,4}([A-Z])(?:[\)\]][\*_`\"']*|[\*_`\"']*[.:](?=\s))",
    re.ASCII,
)
"""A letter that labels what follows: "B. blue", "(B) blue"."""
_STATED = re.compile(
    r"[\(\[\*_`\"'$\{]*(?:(?:option|choice|text)\s*)?[\(\[\*_`\"'$\{]*([A-Z])"
    r"(?![\w'’])[\)\]\*_`\"'$\}]*",
    re.I | re.ASCII,
)
_WORDS_OF_ONE_LETTER = ("A", "I")


def _letter(answer: str, texts: Mapping[str, str]) -> str | None:
    """The letter that an answer chooses, None where it chooses none of these."""
    text, marked = extract(answer)
    if marked:
        return _stated(text, texts)
    labels = {label.upper() for label in _LABEL.findall(answer)}.intersection(texts)
    lines = [line.strip() for line in answer.splitlines() if line.strip()]
    for line in (text, *lines[-1:], *lines[:1]):
        match = _ALONE.fullmatch(line)
        if match is None and len(labels) == 1:  # several: the answer goes through the choices
            match = _LABEL.match(line)
        letter = match[1].upper() if match else _of_text(line, texts)
        if letter in texts:
            return letter
    return None


def _of_text(text: str, texts: Mapping[str, str]) -> str | None:
    """The letter of the choice that a text is."""
    given = normalised(text)
    letters = [letter for letter, its in texts.items() if its and normalised(its) == given]
    return letters[0] if len(letters) == 1 else None


def _stated(text: str, texts: Mapping[str, str]) -> str | None:
    """The letter of a text that is marked as the answer."""
    if letter := _of_text(text, texts):
        return letter
    match = _ALONE.fullmatch(text) or _LABEL.match(text)
    if match is None and (stated := _STATED.match(text)):
        after = text[stated.end() :].lstrip(" ")
        word = stated[1].upper() in _WORDS_OF_ONE_LETTER or stated[1].islower()
        # "the answer is A good idea" chooses nothing, "the answer is B because" does
        if not word or not re.match(r"(?!because|since)\w", after):
            match = stated
    letter = match[1].upper() if match else ""
    return letter if letter in texts else None


# ---- words and schemas -------------------------------------------------------------------------


_STOP_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a about after all also an and any are as at be been but by can could did do does for from
        had has have he her his how i if in into is it its may more most no nor not of on or our
        she should so such than that the their them then there these they this those to was we
        were what when where which who why will with would you your""",
    )
)


def _content(text: str) -> set[str]:
    """The content words of a text, and its numbers as values."""
    read = numbers(text)
    values = {str(number.value or number.text) for number in read}
    words = re.findall(r"[^\W\d_]+(?:['’-][^\W\d_]+)*", text.casefold())
    return values | {word for word in words if word not in _STOP_WORDS and len(word) > 1}


def _context_text(context: Any) -> str:
    if isinstance(context, list):
        return "\n".join(_context_text(part) for part in context)
    if isinstance(context, Mapping):
        return str(context.get("text") or "")
    return str(context)


@lru_cache(maxsize=256)
def _validator(schema: str) -> Any:
    """A validator of a schema that opens no address. Raises: ValueError if it is no schema."""
    from jsonschema import SchemaError, validators
    from referencing import Registry

    document = json.loads(schema)
    kind = validators.validator_for(document)
    try:
        kind.check_schema(document)
    except SchemaError as error:
        raise ValueError(f"its schema is no JSON schema: {error.message}") from error
    return kind(document, registry=Registry())


def _first_line(error: object) -> str:
    return (str(error).splitlines() or [""])[0][:200]
