"""How much does a redactor miss? Made-up values of each kind are planted, and those left counted.

The recall is that of the forms listed here, each as often as the others, in varied contexts; a log
with other forms has another one. Names of people are not among them, since the default patterns do
not look for them.
"""

import json
import re
from string import ascii_letters, ascii_lowercase, digits

import numpy as np
import pandas as pd

from llmstudy.evals.redaction import ENTITIES, Redactor
from llmstudy.figure import Interval
from llmstudy.measures.quality import wilson

_LEFT = 5
"""So many characters of a value in a row that are left are a leak."""


def canary_recall(redactor: Redactor, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """The share of planted values that a redactor takes out, for each entity.

    n: values to plant of each entity, at least one. A value of which a piece is left has leaked.
    Returns: a row for each entity: entity, planted, redacted, recall, low, high (Wilson's interval,
    shares), missed (the form that leaks most often, null if none does).

    >>> table = canary_recall(Redactor(), 40, np.random.default_rng(7)).set_index("entity")
    >>> table.loc["IBAN", ["planted", "redacted"]].tolist()
    [40, 40]
    """
    # one of its own, so that what it has counted of a golden set stays true
    fresh, rows = Redactor(*redactor.detectors), []
    for entity in ENTITIES:
        forms, missed = _FORMS[entity].split("; "), list[str]()
        for _ in range(n):
            form = forms[rng.integers(len(forms))]
            before, after = _CONTEXTS[rng.integers(len(_CONTEXTS))]
            lead, value = _filled(form, rng)
            planted = json.dumps(value)[1:-1] if before.startswith("{") else value
            redacted = fresh.redact(f"{before}{lead}{planted}{after}")
            pieces = (value[i : i + _LEFT] for i in range(max(len(value) - _LEFT, 0) + 1))
            if any(piece in redacted for piece in pieces):
                missed.append(form)
        recall = wilson(n - len(missed), n)
        row = {"entity": entity, "planted": n, "redacted": n - len(missed)}
        row |= {"recall": recall.estimate, "low": recall.low, "high": recall.high}
        rows.append(row | {"missed": max(sorted(missed), key=missed.count) if missed else None})
    return pd.DataFrame(rows)


def leak_rate(recall: pd.DataFrame) -> Interval:
    """The share of all planted values that leak, with Wilson's interval. recall: `canary_recall`.

    >>> leak_rate(pd.DataFrame({"planted": [100, 100], "redacted": [99, 97]})).estimate
    0.02
    """
    planted = int(recall["planted"].sum())
    return wilson(planted - int(recall["redacted"].sum()), planted)


_CONTEXTS = (
    ("", ""),
    ("Please reach me at ", " before noon."),
    ("Contact: ", "\nThanks"),
    ("My details are (", "), is that enough?"),
    ("Customer wrote: “", "” and hung up"),
    ("Kunde: ", "; bitte prüfen"),
    ("Voici mes coordonnées : ", ", merci d'avance"),
    ('{"note": "use ', '", "id": 17}'),
    ("<td>", "</td>"),
    ("value=", " status=ok"),
    ("| name | ", " | open |"),
    ("- ", "\n- next"),
    ("Reply to ", "?"),
    ("**", "**"),
    ("old\t", "\tnew"),
    ("联系方式：", "。"),
    ("It is ", "."),
    ("either that or ", ", I think"),
)

_SIGNS = {
    "#": digits,
    "~": "23456789",
    "&": ascii_lowercase,
    "^": ascii_lowercase[:6] + digits,
    "*": ascii_letters + digits,
}
"""What stands for a sign of a form, by its mark; `*{48}` is so many of it. Before `|` is what leads
to the value; `L` in a card and `KK` in an account are its check digits."""

_FORMS = {
    "EMAIL": (
        "&&&&&@&&&&&&.com; &&&&.&&&&&&@&&&&&.co.uk; &&&&+&&&@&&&&.io; &&##@&&&-&&&.de; "
        "mailto:|&&&&@&&&&.org; <|&&&&_&&&@mail.&&&&&.com; JANE.&&&&&@&&&&&.COM; "
        "&&&&&%40&&&&&.com; müller&&&@&&&&.de; o'&&&&@&&&&.ie"
    ),
    "PHONE": (
        "+49 89 ~######; +49 (0)89 ~###-###; +44 20 ~### ####; +33~########; +91 ~#### #####; "
        "+1-~##-~##-####; +1 (~##) ~##-####; (~##) ~##-####; ~##-~##-####; ~##.~##.####; "
        "~## ~## ####; 1-~##-~##-####; 0049 171 ~######; 06 ~# ## ## ##; 020 ~### ####; "
        "0171 ~######; 0171-~######; 0171~######; Tel.: |089 ~######; phone: |020-~###-####; "
        "call |0171-~######; fax |0~#/~#####"
    ),
    "CARD": (
        "4### #### #### ###L; 4##############L; 4###-####-####-###L; 52## #### #### ###L; "
        "34## ###### ####L; 37############L; 6011 #### #### ###L"
    ),
    "IBAN": (
        "DEKK ~### #### #### #### ##; DEKK~#################; GBKK WEST ~### #### #### ##; "
        "FRKK ~### #### #### #### #### ###; NLKK ABNA ~### #### ##; chKK ~### #### #### #### #; "
        "IBAN: |ITKK X~## #### #### #### #### ###; ESKK-~###-####-####-####-####"
    ),
    "SSN": "2##-~~-~###; 7##-~~-~###; SSN |4##~~~###; social security number is |5## ~~ ~###",
    "IP": (
        "192.168.~#.1##; ~#.1##.~#.~#; 10.~.~#.1##; 203.0.113.~#; 17~.~#.~#.~#; "
        "2001:db8:~^^^::~^^^; fe80::~^^^:~^^^:~^^^:~^^^; "
        "2a02:~^^^:~^^^:~^^^:~^^^:~^^^:~^^^:~^^^"
    ),
    "URL": (
        "https://&&&&&&.com/&&&&?id=####; http://&&&&.&&&&&.net:8080/~###/&&&&; "
        "www.&&&&&&.de/&&&&; https://&&&&&:&&&&##@&&&&&.com; s3://&&&&&-&&&&/####/&&&.csv; "
        "postgres://&&&&:&&&&@&&&&.local:5432/&&&&; [report](|https://docs.&&&&&.com/d/*{12}"
    ),
    "KEY": (
        "sk-*{48}; sk-proj-*{40}; sk_live_*{24}; AKIA~{16}; ghp_*{36}; github_pat_*{40}; hf_*{34}; "
        "AIza*{35}; xoxb-#{10}-*{24}; glpat-*{20}; Bearer |*{32}; "
        "Authorization: bearer |*{20}==; eyJ*{20}.eyJ*{30}.*{40}; "
        "-----BEGIN RSA PRIVATE KEY-----\n*{64}\n*{30}\n-----END RSA PRIVATE KEY-----"
    ),
}


def _filled(form: str, rng: np.random.Generator) -> tuple[str, str]:
    """What leads to a value, and a value of a form."""
    form = re.sub(r"(.)\{(\d+)\}", lambda many: many[1] * int(many[2]), form)
    picks = rng.integers(1 << 30, size=len(form))
    text = "".join(
        _SIGNS[mark][pick % len(_SIGNS[mark])] if mark in _SIGNS else mark
        for mark, pick in zip(form, picks, strict=True)
    )
    lead, _, value = text.rpartition("|")
    if value.endswith("L"):
        value = value[:-1] + _luhn(value[:-1])
    if value[2:4] == "KK":
        value = f"{value[:2]}{_mod_97(value)}{value[4:]}"
    return lead, value


def _luhn(text: str) -> str:
    numbers = [int(sign) for sign in text if sign in digits][::-1]
    total = sum(sum(divmod(n * 2, 10)) if i % 2 == 0 else n for i, n in enumerate(numbers))
    return str(-total % 10)


def _mod_97(text: str) -> str:
    plain = "".join(sign for sign in text.upper() if sign.isalnum())
    number = int("".join(str(int(sign, 36)) for sign in f"{plain[4:]}{plain[:2]}00"))
    return f"{98 - number % 97:02d}"
