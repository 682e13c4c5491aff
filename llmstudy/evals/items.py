"""A golden set: the items of a workload that every route answers, with what is right.

An item is a mapping: item_id, workload, slice (a part that is also judged by itself), cluster (what
dependent items share, such as a conversation), messages (a list of role and content), reference
(what is right; null until it is labelled), answer_today (of the route in use), and whatever a
scorer needs (`schema`, `choices`, `context`). One with a `prompt`, a text, has it as its only
message. item_hash is that of `identity`.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from llmstudy import io
from llmstudy.evals.identity import item_hash, sha256_of
from llmstudy.evals.table import conform
from llmstudy.measures.quality import krippendorff_alpha
from llmstudy.text import refuse

Item = Mapping[str, Any]

_FIRST = ("item_id", "item_hash", "workload", "slice", "cluster", "messages", "reference")


@dataclass(frozen=True)
class ItemSet:
    """Items and where they come from. about: seed, log, redactions and the like.

    Raises: ValueError for no items, an id that is absent or used twice, and an item without text.

    >>> items = ItemSet([{"item_id": "a", "messages": [{"role": "user", "content": "2 + 2?"}]}])
    >>> len(items.version), items.labelled_share
    (12, 0.0)
    """

    items: Sequence[Item]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Checks the items, and gives each its hash."""
        if not self.items:
            raise ValueError("no items: a golden set needs at least one")
        ids = pd.Series([str(item.get("item_id") or "") for item in self.items])
        refuse(ids.index[ids == ""] + 1, "without item_id: name it", "item")
        refuse(ids[ids.duplicated()], "with an id that another one has: name each apart")
        refuse((i for i, x in zip(ids, self.items, strict=True) if not _is_text(x)), _NO_TEXT)
        object.__setattr__(self, "items", tuple(_ordered(item) for item in self.items))

    @cached_property
    def version(self) -> str:
        """A hash of all items whatever their order: equal sets have equal versions."""
        return sha256_of(sorted(self.items, key=lambda item: str(item["item_id"])))[:12]

    @property
    def labelled_share(self) -> float:
        """The share of items that have a reference."""
        return sum(item["reference"] is not None for item in self.items) / len(self.items)

    def frame(self) -> pd.DataFrame:
        """A row for each item, with its prompt as one text in `prompt`."""
        rows = [{**item, "prompt": prompt_of(item)} for item in self.items]
        return pd.DataFrame(rows).drop(columns="messages")

    def with_references(self, references: Mapping[str, str]) -> "ItemSet":
        """The set with these references, by item_id; items that are not named keep theirs.

        Raises: ValueError for an item that the set does not have.
        """
        ids = {str(item["item_id"]) for item in self.items}
        refuse(references.keys() - ids, "that the set does not have: label its own items")
        items = [
            {**item, "reference": references.get(str(item["item_id"]), item["reference"])}
            for item in self.items
        ]
        return ItemSet(items, self.about)


_NO_TEXT = "without messages of role and content: give each a prompt"


def _messages(item: Item) -> Any:
    """The messages of an item, or its `prompt` as the only one."""
    if item.get("messages") is None and item.get("prompt"):
        return [{"role": "user", "content": item["prompt"]}]
    return item.get("messages")


def _is_text(item: Item) -> bool:
    messages = _messages(item)
    return (
        isinstance(messages, list | tuple)
        and len(messages) > 0
        and all(isinstance(m, Mapping) and isinstance(m.get("content"), str) for m in messages)
        and all(isinstance(m.get("role"), str) for m in messages)
    )


def _ordered(item: Item) -> dict[str, Any]:
    first = {name: item.get(name) for name in _FIRST}
    rest = {name: value for name, value in item.items() if name != "prompt"}
    texts = {"messages": _messages(item), "item_hash": hash_of(item)}
    return first | rest | texts


def hash_of(item: Item) -> str | None:
    """The hash of an item (`identity.item_hash`)."""
    return item_hash(_messages(item), item.get("reference"), item.get("choices"))


def prompt_of(item: Item) -> str:
    """The prompt as one text: the message alone, or each with its role."""
    messages = item["messages"]
    if len(messages) == 1:
        return str(messages[0]["content"])
    return "\n\n".join(f"[{each['role']}]\n{each['content']}" for each in messages)


# --- files --------------------------------------------------------------------------------


def write_items(items: ItemSet, path: str | Path) -> Path:
    """Writes a set as JSON Lines, one item a line, and what is known of it in `NAME.about.json`.

    Returns: the path of the second. Each file is there whole or not at all.
    """
    file = Path(path)
    lines = (json.dumps(item, ensure_ascii=False) + "\n" for item in items.items)
    io.write(file, "".join(lines))
    about = {"version": items.version, "items": len(items.items), **items.about}
    io.write(about_path(file), io.dumps(about))
    return about_path(file)


def about_path(path: Path) -> Path:
    """Where what is known of a set lies, beside its items."""
    return path.with_name(f"{path.stem}.about.json")


def read_items(path: str | Path) -> ItemSet:
    """Reads a set from JSON Lines; one of your own making needs no file beside it.

    Raises: ValueError for a line that is no item, and for a hash or a version that is not that of
    the items, since an evaluation of others must not be taken for theirs.
    """
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{file}: no such file: make one with `llmstudy eval items`")
    items = []
    for number, line in enumerate(file.read_text("utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except ValueError:
            item = None
        if not isinstance(item, dict):
            raise ValueError(f"{file}:{number}: not an item: write one JSON object a line")
        items.append(item)
    beside = about_path(file)
    about = json.loads(beside.read_text("utf-8")) if beside.is_file() else {}
    try:
        read = ItemSet(items, {k: v for k, v in about.items() if k not in ("version", "items")})
        changed = [
            item["item_id"] for item in items if item.get("item_hash") not in (None, hash_of(item))
        ]
        refuse(changed, "changed by hand: leave out their item_hash, and name them anew")
        if about.get("version") not in (None, read.version):
            raise ValueError(
                f"the items are version {read.version}, {beside.name} is of {about['version']}: "
                "delete it if the change is meant"
            )
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return read


# --- labelling sheet ----------------------------------------------------------------------

LABELS = ("right", "wrong", "skip")
"""What a label of an answer may be; `skip` is one that the labeller leaves to others."""


def sheet_of(items: ItemSet, labellers: int = 1) -> pd.DataFrame:
    """The items for people to label: a row for each, to be filled in.

    Returns: item_id, workload, prompt, answer_today, reference (what is right), label_1... (of
    today's answer, one of `LABELS` for each labeller), note.
    """
    frame = items.frame()
    for name in ("answer_today", "reference", "note"):
        frame[name] = frame.get(name, pd.Series(None, index=frame.index, dtype=object))
    labels = [f"label_{n}" for n in range(1, labellers + 1)]
    frame[labels] = None
    names = ["item_id", "workload", "prompt", "answer_today", "reference", *labels, "note"]
    cells = frame[names].astype(object)
    return cells.where(cells.notna(), None)


def write_sheet(sheet: pd.DataFrame, path: str | Path) -> None:
    """Writes a sheet as CSV in which a spreadsheet runs no formula, whole or not at all."""
    # the mark at its start is what makes a spreadsheet read UTF-8
    io.write(Path(path), "\ufeff" + io.csv(sheet))


def read_sheet(path: str | Path, items: ItemSet) -> pd.DataFrame:
    """A sheet that was filled in. Rows may be in any order, and columns may have been added.

    Returns: as `sheet_of`, in the order of the items; what is empty is null.
    Raises: ValueError for a column or an item that is missing, an item that is not of the set or is
    there twice, and a label that is none of `LABELS`.
    """
    wanted = [str(item["item_id"]) for item in items.items]
    sheet = read_labelled(path, "item_id", wanted, f"not of the set of version {items.version}")
    if "reference" not in sheet:
        raise ValueError(f"{path}: column reference is missing: label the sheet as it was written")
    try:
        refuse(
            (i for i in wanted if i not in set(sheet["item_id"])),
            "missing from the sheet: keep every row",
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    return sheet.set_index("item_id").loc[wanted].reset_index()


def read_labelled(
    path: str | Path, key: str, wanted: Collection[str], stranger: str
) -> pd.DataFrame:
    """The rows of a sheet that people filled in, with its labels as one of `LABELS`.

    key: the column that names a row; wanted: the names that may be there. stranger: what another
    name is, for the error. What is empty is null.
    Raises: ValueError for a sheet without the column, a name that is not wanted or is there twice,
    and a label that is none.
    """
    file = Path(path)
    try:
        # a spreadsheet of some countries writes semicolons
        first = file.read_text("utf-8-sig").partition("\n")[0]
        sign = max(",;\t", key=first.count)
        sheet = pd.read_csv(file, sep=sign, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{file}: cannot be read as CSV in UTF-8 ({error})") from None
    if key not in sheet:
        raise ValueError(f"{file}: column {key} is missing: label the sheet as it was written")
    sheet = sheet.astype(object).map(lambda cell: io.unguarded(cell).strip() or None)
    sheet = sheet.astype(object).where(sheet.notna(), None)
    ids = sheet[key]
    try:
        refuse(ids.index[ids.isna()] + 2, f"without {key}", "row")
        refuse(ids[~ids.isin(wanted)], stranger)
        refuse(ids[ids.duplicated()], "in the sheet twice: keep one row")
        for name in _labels(sheet):
            sheet[name] = pd.Series([cell and _label(cell) for cell in sheet[name]], dtype=object)
            bad = sheet[name].notna() & ~sheet[name].isin(LABELS)
            refuse(ids[bad], f"whose {name} is none of {', '.join(LABELS)}")
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None
    return sheet


def label_shares(sheet: pd.DataFrame) -> "pd.Series[float]":
    """Of each row, the share of its labellers who judged it right; null where none judged it.

    >>> sheet = pd.DataFrame({"label_1": ["right", "skip"], "label_2": ["wrong", None]})
    >>> label_shares(sheet).tolist()
    [0.5, nan]
    """
    labels = sheet[_labels(sheet)]
    right, wrong = ((labels == label).sum(axis=1) for label in LABELS[:2])
    return right / (right + wrong)


def _label(cell: str) -> str:
    return _SHORT.get(cell.casefold(), cell.casefold())


_SHORT = {"r": "right", "1": "right", "w": "wrong", "0": "wrong", "s": "skip"}


def labelling(sheet: pd.DataFrame) -> pd.DataFrame:
    """How far the labelling is: a row for the references and for each labeller.

    Returns: what, items, done, missing (items), right_share (of those labelled right or wrong).

    >>> sheet = pd.DataFrame({"reference": ["4", None], "label_1": ["right", "skip"]})
    >>> labelling(sheet)[["what", "done", "missing"]].to_numpy().tolist()
    [['reference', 1, 1], ['label_1', 2, 0]]
    """
    rows = []
    for name in ("reference", *_labels(sheet)):
        done = sheet[name].notna()
        row = {"what": name, "items": len(sheet), "done": done.sum(), "missing": (~done).sum()}
        right, wrong = ((sheet[name] == label).sum() for label in LABELS[:2])
        is_label = name != "reference" and right + wrong > 0
        rows.append(row | {"right_share": right / (right + wrong) if is_label else None})
    return pd.DataFrame(rows)


def _labels(sheet: pd.DataFrame) -> list[str]:
    return [str(name) for name in sheet if str(name).startswith("label_")]


def agreement(sheet: pd.DataFrame) -> float | None:
    """Krippendorff's alpha of the labellers, on items that two or more judged right or wrong.

    1 is agreement, 0 what chance gives; null where no item has two labels, or all labels are alike,
    so that it cannot be told from chance.

    >>> labels = {"label_1": ["right", "wrong", "right"], "label_2": ["right", "wrong", "wrong"]}
    >>> round(agreement(pd.DataFrame(labels)), 3)
    0.444
    """
    labels = sheet[_labels(sheet)]
    judged = labels.astype(object).where(labels.isin(LABELS[:2]), None)
    try:
        return krippendorff_alpha(judged.T.to_numpy())
    except ValueError:
        return None


def human_scores(sheet: pd.DataFrame, items: ItemSet, route: str) -> pd.DataFrame:
    """The labels of today's answers as the evaluation of a route, which a judge is calibrated on.

    sheet: as `read_sheet`. route: whose answers `answer_today` are. An item's score is the share of
    its labellers who judged it right; it is not scored where none judged it.
    Returns: as `table.conform`, with the scorer `people`.

    >>> items = ItemSet([{"item_id": "a", "messages": [{"role": "user", "content": "2 + 2?"}]}])
    >>> sheet = sheet_of(items).assign(label_1="right")
    >>> human_scores(sheet, items, "api")[["item_id", "route", "score"]].to_numpy().tolist()
    [['a', 'api', 1.0]]
    """
    frame = items.frame().set_index("item_id").loc[sheet["item_id"]]
    names = ["item_hash", "workload", "slice", "cluster"]
    scores = label_shares(sheet).to_numpy()
    rows = frame[names].assign(route=route, scorer="people", score=scores)
    return conform(rows.reset_index())
