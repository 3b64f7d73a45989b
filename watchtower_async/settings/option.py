"""One option: its names, its readers, its help, and what is to be said when somebody sets it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

from watchtower_async.settings.parsing import parse_bool


@dataclass(frozen=True, slots=True)
class Option:
    """One declaration. `key`, `group` and `default` are filled in from the field that holds it."""

    flags: tuple[str, ...]
    env: str
    help: str
    parse: Callable[[str], Any]
    """Reads what stands on the command line; of a list, one occurrence."""
    parse_env: Callable[[str], Any]
    is_switch: bool
    metavar: str
    shown_default: str
    is_secret: bool = False
    """Whether the value is never shown, and may be the name of the file that holds it."""
    is_list: bool = False
    """Whether it may be given several times on the command line; the values are tuples, which are joined."""
    is_tolerant: bool = False
    """Whether a text that cannot be read is told, and the default taken, as Watchtower does for this one."""
    is_carried_out: bool = True
    """False while the option is read and the feature behind it is not there."""
    no_effect: str = ""
    """Why it makes no sense here, for those that are only accepted."""
    replaced_by: str = ""
    """What to use instead, for those that are kept for old configurations."""
    is_hidden: bool = False
    """Whether the help leaves it out, because nobody sets it by hand."""
    default: Any = None
    key: str = ""
    group: str = ""

    @property
    def name(self) -> str:
        """Return the long flag, by which people know the option."""
        return self.flags[0]

    @property
    def remarks(self) -> tuple[str, ...]:
        """Return what help and documentation say besides the help text."""
        found = (
            "may be given several times" if self.is_list else "",
            "or the file that holds it" if self.is_secret else "",
            f"deprecated: use {self.replaced_by}" if self.replaced_by else "",
            f"no effect: {self.no_effect}" if self.no_effect else "",
            "" if self.is_carried_out else "no effect yet",
        )
        return tuple(text for text in found if text)


def declare(
    *flags: str,
    env: str = "",
    default: Any,
    help: str,  # noqa: A002 - the word that every command-line library uses
    parse: Callable[[str], Any] = str,
    parse_env: Callable[[str], Any] | None = None,
    metavar: str = "TEXT",
    shown_default: str = "",
    is_secret: bool = False,
    is_tolerant: bool = False,
    is_carried_out: bool = True,
    no_effect: str = "",
    replaced_by: str = "",
    is_hidden: bool = False,
) -> Any:
    """Return a dataclass field that declares an option. One whose default is a tuple is a list."""
    option = Option(
        flags=flags,
        env=env,
        help=help,
        parse=parse,
        parse_env=parse_env or parse,
        is_switch=parse is parse_bool,
        metavar="" if parse is parse_bool else metavar,
        shown_default=shown_default,
        is_secret=is_secret,
        is_list=isinstance(default, tuple),
        is_tolerant=is_tolerant,
        is_carried_out=is_carried_out,
        no_effect=no_effect,
        replaced_by=replaced_by,
        is_hidden=is_hidden,
    )
    return field(default=default, repr=not is_secret, metadata={"option": option})


def options_of(name: str, group: type[Any]) -> Iterator[Option]:
    """Yield the options of a settings group in the order of declaration; `name` is that of the group's field."""
    for item in fields(group):
        option: Option = item.metadata["option"]
        yield replace(option, key=f"{name}.{item.name}", group=str(group.__doc__), default=item.default)
