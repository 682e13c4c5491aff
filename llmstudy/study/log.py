"""The request log that a study rests on."""

from pydantic import Field

from llmstudy.requests.mapping import LogMapping
from llmstudy.study.fields import Name, Place, Text


class Log(LogMapping):
    """A real request log, and what it lacks.

    path: a file, a folder with all its files, or a glob.
    """

    path: Place
    format: Text = Field(
        default="auto", description="auto, or a name of `llmstudy requests formats`"
    )
    workload: Name | None = None
    provider: Text | None = None
    model: Text | None = None
