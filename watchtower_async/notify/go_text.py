"""What Go's templates print, for templates that were written for Go: `printf`, times, JSON, and values as text.

Only what templates of notifications use. The verbs of `printf` are those of text, numbers and truth values; an unknown
one is printed as Go prints it, as a mistake that can be seen.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from watchtower_async.notify.report import ContainerReport, LogEntry, Report, State, TemplateData, short

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>[0-9]{0,3})(?:\.(?P<precision>[0-9]{0,3}))?(?P<verb>[a-zA-Z%]|\Z)")
# The words of the reference time Mon Jan 2 15:04:05 MST 2006, which is how Go writes the form of a time.
_LAYOUT = re.compile(
    r"January|Jan|Monday|Mon|MST|Z07:00|-07:00|-0700|2006|15|\.0+|\.9+|01|02|03|04|05|06|_2|PM|pm|1|2|3|4|5"
)


def go_text(value: object) -> object:
    """Return a value as Go prints it; what Python prints in the same way is left as it is."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return go_time(value, "2006-01-02 15:04:05 -0700 MST")
    if isinstance(value, Mapping):
        return f"map[{' '.join(f'{key}:{go_text(value[key])}' for key in sorted(value, key=str))}]"
    if isinstance(value, (list, tuple)):
        return f"[{' '.join(str(go_text(item)) for item in value)}]"
    return value


def go_print(*values: object) -> str:
    """Print values one after the other, with a space between two that are both no text."""
    parts: list[str] = []
    for number, value in enumerate(values):
        if number and not isinstance(value, str) and not isinstance(values[number - 1], str):
            parts.append(" ")
        parts.append(str(go_text(value)))
    return "".join(parts)


def go_println(*values: object) -> str:
    """Print values with spaces between them, and end the line."""
    return " ".join(str(go_text(value)) for value in values) + "\n"


def go_printf(form: str, *values: object) -> str:
    """Print values in a form."""
    left = list(values)

    def put(match: re.Match[str]) -> str:
        verb = match["verb"]
        if verb == "%":
            return "%"
        if not verb:
            return "%!(NOVERB)"
        if not left:
            return f"%!{verb}(MISSING)"
        return _pad(_formatted(verb, left.pop(0), match), match)

    text = _VERB.sub(put, str(form))
    extra = ", ".join(f"{_type_of(value)}={go_text(value)}" for value in left)
    return f"{text}%!(EXTRA {extra})" if left else text


def go_time(moment: datetime, layout: str) -> str:
    """Write a time in one of Go's forms."""
    return _LAYOUT.sub(lambda match: _time_part(moment, match[0]), layout)


def rfc1123(moment: datetime) -> str:
    """Write a time as `Tue, 02 Jan 2024 15:04:05 UTC`."""
    return go_time(moment, "Mon, 02 Jan 2006 15:04:05 MST")


def go_pairs(value: object) -> tuple[tuple[object, object], ...]:
    """Return keys and values of a map in the order of the keys, or numbers and values of a list."""
    if isinstance(value, Mapping):
        return tuple((key, value[key]) for key in sorted(value, key=str))
    return tuple(enumerate(value)) if isinstance(value, Iterable) else ()


def to_json(value: object) -> str:
    """Write indented JSON with sorted keys, as Watchtower's `ToJSON` does."""
    return _dump(_plain(value), sort_keys=True)


def to_porcelain_json(report: Report | None) -> str:
    """Write a report as the `porcelain.json` object."""
    containers = report.all if report else ()
    return _dump({"containers": [_porcelain(container) for container in containers]}, sort_keys=False)


def _dump(value: object, *, sort_keys: bool) -> str:
    text = json.dumps(value, indent=2, sort_keys=sort_keys, ensure_ascii=False)
    # Go writes these three so that the text can stand in a page.
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _plain(value: object) -> object:
    match value:
        case TemplateData():
            return {
                "entries": [_plain(entry) for entry in value.entries],
                "host": value.host,
                "report": _plain(value.report),
                "title": value.title,
            }
        case Report():
            names = ("scanned", "updated", "restarted", "failed", "skipped", "stale", "fresh")
            return {name: [_item(container) for container in getattr(value, name)] for name in names}
        case ContainerReport():
            return _item(value)
        case LogEntry():
            time = value.time.isoformat().replace("+00:00", "Z")
            return {"data": _plain(value.data), "level": value.level, "message": value.message, "time": time}
        case Mapping():
            return {str(key): _plain(inner) for key, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(inner) for inner in value]
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return value.isoformat().replace("+00:00", "Z")
        case _:
            return str(value)


def _item(container: ContainerReport) -> dict[str, str]:
    item = {
        "id": short(container.id),
        "name": container.name,
        "currentImageId": short(container.old_image_id),
        "latestImageId": short(container.new_image_id),
        "imageName": container.image,
        "state": str(container.state),
    }
    known = {
        "error": container.error,
        "currentImageVersion": container.old_version,
        "latestImageVersion": container.new_version,
        "currentImageRevision": container.old_revision,
        "latestImageRevision": container.new_revision,
        "ociSource": container.source,
    }
    return item | {key: text for key, text in known.items() if text}


def _porcelain(container: ContainerReport) -> dict[str, object]:
    item: dict[str, object] = {
        "name": container.name,
        "image": container.image,
        "image_id": short(container.old_image_id),
        "latest_image_id": short(container.new_image_id),
        "state": str(container.state),
        "update_available": _has_newer_image(container),
    }
    if container.error:
        item["error"] = container.error
    return item


def _has_newer_image(container: ContainerReport) -> bool:
    if container.state in {State.UPDATED, State.STALE}:
        return True
    return bool(container.new_image_id) and container.new_image_id != container.old_image_id


def _formatted(verb: str, value: object, match: re.Match[str]) -> str:
    precision = int(match["precision"] or 0) if match["precision"] is not None else None
    if verb in "sv":
        text = str(go_text(value))
        return text if precision is None or verb == "v" else text[:precision]
    if verb == "q":
        return json.dumps(str(go_text(value)), ensure_ascii=False)
    if verb == "t" and isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        sign = "+" if "+" in match["flags"] else ""
        if verb in "dxXob" and isinstance(value, int):
            return format(value, sign + verb)
        if verb in "feEgG":
            return format(value, f"{sign}.{6 if precision is None else precision}{verb}")
    if verb == "T":
        return _type_of(value)
    return f"%!{verb}({_type_of(value)}={go_text(value)})"


def _pad(text: str, match: re.Match[str]) -> str:
    width, flags = int(match["width"] or 0), match["flags"]
    if "-" in flags:
        return text.ljust(width)
    return text.zfill(width) if "0" in flags and match["verb"] in "dfxX" else text.rjust(width)


def _type_of(value: object) -> str:
    names = {bool: "bool", int: "int", float: "float64"}
    return names.get(type(value), "string")


def _time_part(moment: datetime, part: str) -> str:
    offset = moment.utcoffset() or timedelta(0)
    is_utc = not offset
    sign, minutes = "-" if offset < timedelta(0) else "+", abs(int(offset.total_seconds())) // 60
    colon = f"{sign}{minutes // 60:02}:{minutes % 60:02}"
    hour = moment.hour % 12 or 12
    if part[0] == ".":
        digits = f"{moment.microsecond:06}000"[: len(part) - 1]
        return f".{digits}" if part[1] == "0" else f".{digits}".rstrip("0").rstrip(".")
    return {
        "2006": f"{moment.year:04}", "06": f"{moment.year % 100:02}",
        "January": _MONTHS[moment.month - 1], "Jan": _MONTHS[moment.month - 1][:3],
        "01": f"{moment.month:02}", "1": str(moment.month),
        "Monday": _DAYS[moment.weekday()], "Mon": _DAYS[moment.weekday()][:3],
        "02": f"{moment.day:02}", "_2": f"{moment.day:2}", "2": str(moment.day),
        "15": f"{moment.hour:02}", "03": f"{hour:02}", "3": str(hour),
        "04": f"{moment.minute:02}", "4": str(moment.minute), "05": f"{moment.second:02}", "5": str(moment.second),
        "PM": "AM" if moment.hour < 12 else "PM", "pm": "am" if moment.hour < 12 else "pm",
        "MST": "UTC" if is_utc else (moment.tzname() or colon), "Z07:00": "Z" if is_utc else colon,
        "-07:00": colon, "-0700": colon.replace(":", ""),
    }[part]  # fmt: skip


# Not `strftime`, whose words are those of the machine's language.
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
