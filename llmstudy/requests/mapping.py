"""What do the fields of a request log mean? One block for a study and for the formats shipped."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def _one_or_more(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


Text = Annotated[str, Field(min_length=1, max_length=600)]
Fields = Annotated[tuple[Text, ...], BeforeValidator(_one_or_more)]
"""Names of a field, as it is called in one version or another; the first that is filled counts."""

Values = dict[Text, tuple[Text, ...]]
"""Values of a field, by its name."""

Unit = Literal["days", "s", "ms", "us", "ns", "ticks", "usd", "cents", "nano-usd"]


class LogMapping(BaseModel):
    """How the fields of a log become those of a request.

    A field is named as it stands in the log, or by a path into nested ones, `usage.prompt_tokens`;
    of several, `audio_tokens + text_tokens`, it is their sum.

    columns: which field each column of a request is in. constants: what the log does not say, the
    same in each row. ok_values, failed_values: what stands in the column `ok` of an answered and of
    a failed request; with one of the two, every other value is the other. only, without: which rows
    are requests, by the values of a field, or of a column of `columns`; `*` is any value.
    words: what a value of a column means, such as `service_tier: {"true": batch, "false": ""}`;
    empty text is none. empty_is_zero: columns in which an empty field is 0, not unknown.
    input_excludes: parts of the input that are counted beside it; exclusive_providers: those in
    whose rows alone they are. output_excludes: likewise of the output. units: of a column that is
    not in seconds or USD.
    time_origin: the moment from which times count. time_form: how a date is written, as in
    strptime. time_zone: of times that name none, else UTC. decimal, thousands: the signs in
    numbers. failed_rows: whether a failed row without tokens is a request, or, in a log without the
    ids of calls, an attempt of which another row may hold the answer.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    columns: dict[Text, Fields] = Field(default={})
    constants: dict[Text, Text] = Field(default={})
    ok_values: tuple[Text, ...] = ()
    failed_values: tuple[Text, ...] = ()
    only: Values = Field(default={})
    without: Values = Field(default={})
    words: dict[Text, dict[Text, str]] = Field(default={})
    empty_is_zero: tuple[Text, ...] = ()
    input_excludes: tuple[Literal["cached_input_tokens", "cache_write_tokens"], ...] = ()
    exclusive_providers: tuple[Text, ...] = ()
    output_excludes: tuple[Literal["reasoning_tokens"], ...] = ()
    units: dict[Text, Unit] = Field(default={})
    time_origin: datetime | None = None
    time_form: Text | None = None
    time_zone: Text | None = None
    decimal: Literal[".", ","] | None = None
    thousands: Literal[".", ",", " ", "'"] | None = None
    failed_rows: Literal["requests", "attempts"] = "requests"


class LogFormat(LogMapping):
    """A format that ships: `data/log_formats/NAME.yaml`.

    title: as users call it. aliases: names that mean it too. fields: those by which a log is taken
    for this format, each in one of its spellings. records: where the records lie in a document,
    `data[].results[]`. grain: whether a row is a request, or a bucket of many. unknown: what the
    format cannot tell, by column. source: where the format is documented, and its version.
    prompt, system, answer: fields of the texts, which nothing but `prompts` reads; switch_on: what
    makes the gateway log them.
    """

    title: Text
    aliases: tuple[Text, ...] = ()
    fields: tuple[Fields, ...] = ()
    records: Text | None = None
    grain: Literal["request", "bucket"] = "request"
    unknown: dict[Text, Text] = Field(default={})
    source: Text
    prompt: Fields = ()
    system: Fields = ()
    answer: Fields = ()
    switch_on: Text | None = None
