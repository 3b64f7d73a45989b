"""The words of a Watchtower command line, told apart by the options that we declare.

A flag that nobody knows is kept as one, so that everything that is wrong can be told at once. The rules are those of
the command line itself: `--flag value`, `--flag=value`, `-t10s`, several short switches in one word, and names after
`--`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from watchtower_async.migrate.text import Text
from watchtower_async.settings import Option

_COMMON = frozenset({"--help", "-h", "--health-check"})
_TRUE = Text("true")


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag as it stands on a command line, with its value."""

    name: str
    option: Option | None
    """None for one that is not known here."""
    value: Text | None = field(repr=False)
    """None where it needs a value and has none."""
    position: int
    """Which word holds the value."""
    is_attached: bool = False
    """Whether the value stands in the word of the flag."""


@dataclass(frozen=True, slots=True)
class Words:
    """A command line in parts."""

    flags: tuple[Flag, ...] = ()
    names: tuple[Text, ...] = ()

    def texts(self) -> dict[str, str | tuple[str, ...]]:
        """Return what the settings are built from: the last value of each known option, and all of a list."""
        found: dict[str, str | tuple[str, ...]] = {}
        for flag in self.flags:
            if flag.option is None or flag.value is None or not flag.value.is_known:
                continue
            key = flag.option.key
            earlier = found.get(key, ())
            is_more = flag.option.is_list and isinstance(earlier, tuple)
            found[key] = (*earlier, flag.value.value) if is_more else flag.value.value
        return found


def read_words(words: Sequence[Text], options: Iterable[Option]) -> Words:
    """Tell flags and names apart."""
    by_flag = {flag: option for option in options for flag in option.flags}
    flags: list[Flag] = []
    names: list[Text] = []
    position = 0
    while position < len(words):
        word = words[position]
        if word.value == "--":
            names += words[position + 1 :]
            break
        if not word.value.startswith("-") or word.value == "-":
            names.append(word)
        else:
            found = tuple(_flags_in(words, position, by_flag))
            flags += found
            position = max((flag.position for flag in found), default=position)
        position += 1
    return Words(tuple(flags), tuple(names))


def _flags_in(words: Sequence[Text], position: int, by_flag: Mapping[str, Option]) -> Iterator[Flag]:
    word = words[position]
    if word.value.startswith("--"):
        name, equals, value = word.value.partition("=")
        if equals:
            yield Flag(name, by_flag.get(name), Text(value, word.missing), position, is_attached=True)
        elif name not in by_flag and name not in _COMMON:
            yield _unknown_flag(name, words, position)
        elif name not in _COMMON:
            yield _flag(name, by_flag.get(name), words, position)
        return
    letters = word.value[1:]
    for index, letter in enumerate(letters):
        name, rest = f"-{letter}", letters[index + 1 :]
        option = by_flag.get(name)
        if name in _COMMON:
            continue
        if rest and option is not None and (not option.is_switch or rest.startswith("=")):
            yield Flag(name, option, Text(rest.removeprefix("="), word.missing), position, is_attached=True)
            return
        yield _flag(name, option, words, position)
        if option is None:
            return


def _unknown_flag(name: str, words: Sequence[Text], position: int) -> Flag:
    """Return a flag that is probably misspelled; what follows is then its value, and may be a secret."""
    following = words[position + 1] if position + 1 < len(words) else None
    if following is None or following.value.startswith("-"):
        return Flag(name, None, None, position)
    return Flag(name, None, following, position + 1)


def _flag(name: str, option: Option | None, words: Sequence[Text], position: int) -> Flag:
    """Return a flag whose value, if it takes one, is the next word."""
    if option is None or option.is_switch:
        return Flag(name, option, _TRUE if option else None, position)
    if position + 1 < len(words):
        return Flag(name, option, words[position + 1], position + 1)
    return Flag(name, option, None, position)
