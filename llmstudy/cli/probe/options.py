"""Options of `llmstudy probe`, made from the dataclasses of `llmstudy.probe.options`."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field
from inspect import Parameter, signature
from typing import Annotated, Any, TypeVar

import typer

from llmstudy.probe.options import flag_of, options_of

_Command = TypeVar("_Command", bound=Callable[..., Any])

Url = Annotated[
    str, typer.Argument(help="Address up to /v1, as an OpenAI client takes it.", metavar="URL")
]
Model = Annotated[
    str, typer.Option(help="Model as the endpoint names it.", rich_help_panel="The endpoint")
]


def takes(*kinds: type, without: tuple[str, ...] = ()) -> Callable[[_Command], _Command]:
    """Decorator: an option for each field of these dataclasses, passed on as `**options`.

    `given` turns the options into values of the fields.
    """

    def decorate(command: _Command) -> _Command:
        own = signature(command)
        every = list(own.parameters.values())
        made = [
            _parameter(kind, each)
            for kind in kinds
            for each in options_of(kind)
            if each.name not in without
        ]
        ours = [parameter for parameter in every if parameter.kind is not Parameter.VAR_KEYWORD]
        command.__signature__ = own.replace(  # type: ignore[attr-defined]
            parameters=[each.replace(kind=Parameter.KEYWORD_ONLY) for each in [*ours, *made]]
        )
        return command

    return decorate


def _parameter(kind: Any, each: Field[Any]) -> Parameter:
    how = each.metadata
    type_: Any = how["cli"] or (str if how["unit"] else each.type)
    default = None if each.default is MISSING or how["cli"] else each.default
    if how["cli"] is str and each.default is not MISSING:
        default = each.default
    if how["unit"] and default is not None:
        default = f"{default:g} {how['unit']}"
    option = typer.Option(
        flag_of(each.name, each),
        help=how["help"],
        metavar=how["metavar"],
        min=how["least"],
        max=how["most"],
        rich_help_panel=kind.panel,
    )
    if default is None:
        type_ = type_ | None
    annotation = Annotated[type_, option]
    return Parameter(each.name, Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def given(options: Mapping[str, Any], *kinds: type) -> dict[str, Any]:
    """The options that the user gave, as values of the dataclasses' fields.

    Raises: ValueError that names the option.
    """
    from llmstudy import units

    values = {}
    for kind in kinds:
        for each in options_of(kind):
            value, how = options.get(each.name), each.metadata
            if value is None:
                continue
            try:
                if how["unit"]:
                    value = units.parse(value, how["unit"])
                elif how["parse"]:
                    value = how["parse"](value)
            except ValueError as error:
                raise ValueError(f"{flag_of(each.name, each)} {error}") from error
            values[each.name] = value
    return values
