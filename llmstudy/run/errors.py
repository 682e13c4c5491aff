"""The error that the process of a notebook raises and its caller catches."""


class NotebookError(ValueError):
    """A notebook that failed; the message names the cell and the reason."""
