"""Whatever a study file holds, it loads or is refused with file, line and sentence."""

import copy
import json
import random
import re
import warnings
from datetime import date
from itertools import pairwise

import pytest
from ruamel.yaml import YAML

from llmstudy import paths
from llmstudy.run import check
from llmstudy.study import StudyError, document, load

BASE = paths.params("source_memo.yaml").read_text(encoding="utf-8")
SEED = "seed: 20261123"
AS_OF = "as_of: 2026-11-23"
QUESTION = next(line for line in BASE.splitlines() if line.startswith("question: "))


def without(block):
    """The study up to a block, whose key stands alone on a line."""
    return BASE[: BASE.index(f"{block}:\n")]


def doubling(n):
    """Lists of aliases, each of ten of the one before."""
    names = [f"a{i}" for i in range(n)]
    lines = [f"{names[0]}: &{names[0]} [x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in pairwise(names)]
    return "\n".join(lines) + "\n"


BOMB = doubling(12) + BASE

REFUSED = {
    "objects by tag": (BASE + "x: !!python/object/apply:os.system [ls]\n", "the tag", "x:"),
    "a tag of its own": (BASE.replace(SEED, "seed: !big 1"), "the tag !big", "seed:"),
    "aliases without end": (BOMB, "its aliases", "a0:"),
    "deep lists": (BASE + "z: " + "[" * 3000 + "]" * 3000, "more than 30 deep", "z:"),
    "deep mappings": ("".join(f"{' ' * i}a:\n" for i in range(500)), "more than 30 deep", None),
    "an alias of nothing": (BASE + "z: *nope\n", "undefined alias", "z:"),
    "a bad merge": (BASE + "<<: 5\n", "merging", "<<"),
    "a second document": (BASE + "---\nx: 1\n", "a second document begins here", "---"),
    "a tab": (BASE.replace(SEED, "\t" + SEED), "cannot start any token", SEED),
    "a key that is a list": (BASE + "? [a, b]\n: c\n", "a key must be a name", "? [a"),
    "a key twice": (BASE.replace(SEED, f"seed: 1\n{SEED}"), "the key seed is there twice", SEED),
    "no key": (BASE + "z\n", "not valid YAML", None),
    "a control character": (BASE.replace(SEED, "seed: \x07"), "0x7 is not allowed", "seed:"),
    "an escape": (BASE.replace(QUESTION, r'question: "\e[31mred"'), "U+001B", "question:"),
    "half a character": (BASE.replace(QUESTION, r'question: "\ud800"'), "U+D800", "question:"),
    "text turned around": (BASE.replace(QUESTION, r'question: "a\u202eb"'), "U+202E", "question:"),
    "a name of two lines": (BASE.replace("  product:", r'  "a\nb":'), "on one line", "a\\nb"),
    "an empty name": (BASE.replace("  product:", '  "":'), "must not be empty or dots", '"":'),
    "a name in blanks": (BASE.replace("  product:", '  " a":'), "begin or end with", '" a":'),
    "the name of all": (BASE.replace("  product:", "  all:"), "all workloads", "  all:"),
    "a long name": (BASE.replace("  product:", f"  {'x' * 81}:"), "81 characters", "xxx:"),
    "a long study": (BASE.replace("study: source_memo", f"study: {'x' * 300}"), "300", "study:"),
    "no workload": (without("workloads") + "workloads: {}\n", "at least one", "workloads:"),
    "empty workloads": (without("workloads") + "workloads:\n", "is empty, but", "workloads:"),
    "listed workloads": (without("workloads") + "workloads: [a]\n", "is a list, but", "workloads:"),
    "true for a number": (BASE.replace(SEED, "seed: true"), "seed is true, but", "seed:"),
    "a marked true": (BASE.replace(SEED, "seed: &a true"), "seed is true, but", "seed:"),
    "true for GPUs": (
        BASE.replace("tensor_parallel: 2", "tensor_parallel: yes\n    x: 1"),
        "must be a whole number",
        "tensor_parallel:",
    ),
    "a quoted number": (BASE.replace(SEED, 'seed: "5"'), "must be a whole number", "seed:"),
    "5,000 digits": (BASE.replace(SEED, f"seed: {'9' * 5000}"), "5,000 characters", "seed:"),
    "a day that is none": (BASE.replace(AS_OF, "as_of: 2026-02-30"), "not a date", "as_of:"),
    "a number for a day": (BASE.replace(AS_OF, "as_of: 86400"), "not a date", "as_of:"),
    "the last of days": (BASE.replace(AS_OF, "as_of: 9999-12-31"), "2000 to 2100", "as_of:"),
    "a day in the past": (
        re.sub("decide_by: .*", "decide_by: 2020-01-01", BASE),
        "name a later day",
        "decide_by:",
    ),
    "a figure to come": (
        BASE.replace(
            "horizon: 24 months",
            "horizon: {value: 24, unit: months, source: x, as_of: 2027-01-01, grade: assumed}",
        ),
        "horizon is as of 2027-01-01, but the study",
        "horizon:",
    ),
    "sources in a list": (
        BASE.replace(
            "horizon: 24 months",
            "horizon: {value: 24, unit: months, source: [a, b], as_of: 2026-11-01, grade: assumed}",
        ),
        "is not text",
        "horizon:",
    ),
    "an absurd quantity": (
        BASE.replace("horizon: 24 months", "horizon: 1e300 months"),
        "must be 1 to 60",
        "horizon:",
    ),
    "an unknown model": (
        BASE.replace("    model: gpt-4o\n", "    model: gpt-99\n"),
        "close to it",
        "model: gpt-99",
    ),
    "an unknown provider": (
        BASE.replace("    provider: openai\n", "    provider: nobody\n"),
        "no provider 'nobody'",
        "    model: gpt-4o",
    ),
    "an unknown benchmark": (
        BASE.replace("benchmark: zeroeval_gsm", "benchmark: nope", 1),
        "no paired counts with benchmark 'nope'",
        None,
    ),
    "no path": (BASE + "requests: {path: '', format: csv}\n", "is not a path", "requests:"),
    "a long path": (f"{BASE}requests: {{path: {'x' * 400}, format: csv}}\n", "too long", None),
    "a large file": ("#" + "x" * 1_000_001, "MB, but a study has at most", None),
    "UTF-16": (BASE.encode("utf-16"), "not UTF-8 text", None),
    "Latin-1": (BASE.replace(QUESTION, "question: é").encode("latin-1"), "UTF-8", "question:"),
    "nothing": ("", "a mapping of keys", None),
    "zeros": ("\0\0", "0x0 is not allowed", None),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_a_study_may_not_hold_is_refused_with_file_and_line(tmp_path, case):
    text, sentence, marker = REFUSED[case]
    file = tmp_path / "study.yaml"
    raw = text if isinstance(text, bytes) else text.encode()
    file.write_bytes(raw)
    with pytest.raises(StudyError) as refused:
        load(file)
    line, said = re.match(rf"{re.escape(str(file))}:(\d+): (.*)", str(refused.value)).groups()
    assert sentence in said
    assert len(said) < 700
    if marker:
        lines = raw.decode("latin-1").splitlines()
        assert marker in lines[int(line) - 1]


def test_the_faults_of_a_hopeless_file_are_not_all_listed(tmp_path):
    file = tmp_path / "study.yaml"
    file.write_text(BASE + "".join(f"k{i}: 1\n" for i in range(100)))
    with pytest.raises(StudyError) as refused:
        load(file)
    *shown, rest = str(refused.value).splitlines()
    assert (len(shown), rest.rpartition(": ")[2]) == (30, "70 more faults.")


ACCEPTED = {
    "a byte order mark": ("\ufeff" + BASE, None, None),
    "lines as Windows ends them": (BASE.replace("\n", "\r\n"), None, None),
    "a merge key": (BASE.replace("arm: proprietary_api", "<<: {arm: proprietary_api}"), None, None),
    "a number for a name": (BASE.replace("  product:", "  007:"), "workloads", ["007"]),
    "yes for a name": (BASE.replace("  product:", "  true:"), "workloads", ["true"]),
    "two lines of a text": (BASE.replace(QUESTION, "question: |\n  a\n  b"), "question", "a b "),
    "a pair as JSON writes it": (
        BASE.replace(QUESTION, r'question: "\ud83d\ude42?"'),
        "question",
        "🙂?",
    ),
    "whatever the owner asks": (
        BASE.replace(QUESTION, "question: likely $5k? [a](javascript:x) =1+1 <b>客服"),
        "question",
        "likely $5k? [a](javascript:x) =1+1 <b>客服",
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_what_is_no_fault_is_read_as_it_is_written(tmp_path, case):
    text, key, value = ACCEPTED[case]
    file = tmp_path / "study.yaml"
    file.write_bytes(text.encode())
    study = load(file)
    if key:
        found = getattr(study, key)
        assert (list(found) if key == "workloads" else found) == value


def test_no_study_is_checked_on_a_day_that_the_calendar_ends_with():
    study = load(paths.params("source_memo.yaml"))
    with pytest.raises(ValueError, match="cannot be checked on 9999-12-31: give a day up to 2100"):
        check.on_day(study, date(9999, 12, 31))


# --- mutations ----------------------------------------------------------------------------------

VALUES = [True, None, 0, -1, 3.7, 1e308, 10**30, 10**400, [], {}, ["a", "b"], {"a": 1}, [[[]]]]
VALUES += [
    {"value": 1},
    {"figure": ["x"]},
    "",
    " ",
    "?",
    "likely",
    "$5k",
    "=1+1",
    "<script>",
    "a\nb",
]
VALUES += ["[x](javascript:a)", "客服", "🙂", "\x1b[31m", "\u202e", "x" * 300, "{0} %s", "unknown"]
VALUES += [
    "1e999",
    "9" * 400 + " months",
    "-5 months",
    "2026-02-30",
    "9999-12-31",
    "../../x",
    "yes",
]

LIBRARY = re.compile(r"Input should|validation|pydantic|ruamel|object at 0x|NoneType|<class|codec")


def places(node, at=()):
    """Every place in a document, by the keys that lead to it."""
    if at:
        yield at
    keys = range(len(node)) if isinstance(node, list) else node if isinstance(node, dict) else ()
    for key in keys:
        yield from places(node[key], (*at, key))


@pytest.mark.parametrize("name", ["default", "regulated", "source_memo", "hyperscale"])
def test_a_mutated_study_loads_or_is_refused_with_file_and_line(tmp_path, name):
    whole = YAML(typ="safe").load(paths.params(f"{name}.yaml"))
    rng, file = random.Random(f"{name} 20261129"), tmp_path / "study.yaml"
    for _ in range(25):
        mutated = copy.deepcopy(whole)
        *way, last = rng.choice(list(places(mutated)))
        node = mutated
        for key in way:
            node = node[key]
        value = rng.choice(VALUES)
        if isinstance(node, dict) and isinstance(value, str) and rng.random() < 0.3:
            node[value] = node.pop(last)
        else:
            node[last] = value
        file.write_text(json.dumps(mutated, indent=1, default=str, ensure_ascii=False))  # is YAML
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                load(file)
            except StudyError as error:
                for fault in str(error).splitlines():
                    assert re.match(rf"{re.escape(str(file))}:\d+: \S", fault), (way, last, value)
                    assert not LIBRARY.search(fault), fault
                    assert len(fault) < 1000, fault


def test_what_is_left_of_a_document_is_plain(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("a: &x {b: 0x10, c: &y true, d: 2026-11-01, 5: 1e3}\ne: *x\nf: [~, *y]\n")
    within = {"b": 16, "c": True, "d": "2026-11-01", "5": 1000.0}
    read = document.plain(document.read(file))
    assert read == {"a": within, "e": within, "f": [None, True]}
    assert {type(value) for value in read["a"].values()} == {int, bool, str, float}
