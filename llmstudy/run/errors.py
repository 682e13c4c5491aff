"""The error that the process of a notebook raises and its caller catches."""


class NotebookError(ValueError):
    """A notebook that did not run to its end: which cell, and why."""
