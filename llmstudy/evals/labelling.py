"""A view to label a golden set in JupyterLab: one item at a time, each label saved at once.

It fills in the sheet that `items.sheet_of` makes, so that a spreadsheet and the view do the same.
"""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as w
import pandas as pd

from llmstudy.evals.items import LABELS, ItemSet, read_sheet, sheet_of, write_sheet

_COLOURS = {"right": "success", "wrong": "danger", "skip": ""}
_PAGE = "max-height:24em; overflow:auto; white-space:pre-wrap; padding:.5em; background:#f6f6f6"


class LabellingView:
    """The items of a set for one labeller. `view` is the widget that a notebook shows.

    sheet: the CSV that labels go to; it is made where there is none. labeller: its column,
    `label_1` by default. The view begins at the first item without a label, shows no labels of
    others, and reads the sheet anew before it saves, so that two may label at the same time.

    Raises: ValueError if the sheet is not one of these items.
    """

    def __init__(self, items: ItemSet, sheet: str | Path, labeller: int = 1) -> None:
        self._items, self._file, self._column = items, Path(sheet), f"label_{labeller}"
        if not self._file.is_file():
            write_sheet(sheet_of(items, labeller), self._file)
        self._place, self._shown = 0, ("", "")
        self.progress = w.IntProgress(max=len(items.items), description="labelled")
        self.position, self.status = w.HTML(), w.HTML()
        self.prompt, self.answer = w.HTML(), w.HTML()
        self.reference = w.Textarea(description="reference", layout={"width": "44rem"})
        self.note = w.Text(description="note", layout={"width": "44rem"})
        self.labels = {x: w.Button(description=x, button_style=_COLOURS[x]) for x in LABELS}
        self.back, self.forward = w.Button(description="back"), w.Button(description="forward")
        for name, button in self.labels.items():
            button.on_click(lambda _, name=name: self.label(name))
        self.back.on_click(lambda _: self.go(-1))
        self.forward.on_click(lambda _: self.go(1))
        buttons = w.HBox([self.back, *self.labels.values(), self.forward])
        texts = [self.prompt, self.answer, self.reference, self.note]
        self.view = w.VBox([w.HBox([self.progress, self.position]), *texts, buttons, self.status])
        rows = self._read()
        self._show(rows, self._next_open(rows, 0))

    def label(self, label: str) -> None:
        """Labels today's answer right, wrong or skip, saves, and goes to the next without one."""
        rows = self._save(**{self._column: label})
        if rows is not None:
            self._show(rows, self._next_open(rows, self._place + 1))

    def go(self, steps: int) -> None:
        """Saves the reference and the note, and goes to another item."""
        rows = self._save()
        if rows is not None:
            self._show(rows, min(max(self._place + steps, 0), len(rows) - 1))

    def _read(self) -> pd.DataFrame:
        rows = read_sheet(self._file, self._items)
        for name in (self._column, "note"):
            if name not in rows:
                rows[name] = None
        return rows

    def _save(self, **cells: str) -> pd.DataFrame | None:
        """Writes cells of the item at hand, and its texts if they were edited. Returns: the rows;
        None if the sheet cannot be saved, which the status then says."""
        edited = (self.reference.value, self.note.value)
        names = zip(("reference", "note"), self._shown, edited, strict=True)
        changes: Mapping[str, str | None] = {
            **{name: new.strip() or None for name, old, new in names if old != new},
            **cells,
        }
        try:
            rows = self._read()
            if changes:
                rows.loc[self._place, list(changes)] = list(changes.values())
                write_sheet(rows, self._file)
        except (ValueError, OSError) as error:
            self.status.value = f"<b>not saved</b>: {escape(str(error))}"
            return None
        return rows

    def _next_open(self, rows: pd.DataFrame, start: int) -> int:
        """The next item without a label, from `start` and then from the first; else the last."""
        order = [*range(start, len(rows)), *range(start)]
        return next((i for i in order if rows.loc[i, self._column] is None), len(rows) - 1)

    def _show(self, rows: pd.DataFrame, place: int) -> None:
        self._place, row = place, rows.loc[place]
        self._shown = (row["reference"] or "", row["note"] or "")
        self.reference.value, self.note.value = self._shown
        self.prompt.value = _titled("prompt", row["prompt"])
        self.answer.value = _titled("today's answer", row["answer_today"])
        done = rows[["reference", self._column]].notna().sum()
        self.progress.value = int(done[self._column])
        label = row[self._column]
        self.position.value = (
            f"item {place + 1} of {len(rows)}{f', labelled {label}' if label else ''}; "
            f"{done['reference']} with a reference"
        )
        all_done = self.progress.value == self.progress.max
        self.status.value = "all items are labelled" if all_done else ""


def _titled(title: str, text: Any) -> str:
    shown = escape(str(text)) if text is not None else "<i>none in the log</i>"
    return f"<b>{title}</b><div style='{_PAGE}'>{shown}</div>"
