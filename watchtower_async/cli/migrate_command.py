"""`migrate`: shows what becomes of a Watchtower service, and writes the new compose file when it is told to.

A file is a compose file or what `docker inspect` prints; `-` is the standard input; `--find` asks the engine.

Exit code 0 the updater would start with what was found, 1 it would not, nothing was found, or a file cannot be used.
"""

from __future__ import annotations

import json
import os
import stat
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio

from watchtower_async.cli.command_line import COMMANDS, CommandLine
from watchtower_async.engine.address import resolve_address
from watchtower_async.engine.client import connect_engine
from watchtower_async.engine.identity import runs_in_container
from watchtower_async.errors import EngineUnavailableError, NoSuchObjectError, WatchtowerError
from watchtower_async.migrate.assessment import assess
from watchtower_async.migrate.compose_edit import edit_service
from watchtower_async.migrate.compose_reading import Surroundings, env_files_of, watchtowers_in
from watchtower_async.migrate.compose_shown import show_service
from watchtower_async.migrate.finding import Finding, FindingKind
from watchtower_async.migrate.inspect_document import FoundContainer, read_container, write_service
from watchtower_async.migrate.old_service import program_in
from watchtower_async.migrate.report import Report
from watchtower_async.migrate.text import parse_env_file
from watchtower_async.migrate.yaml_tree import ComposeFileError, read_tree
from watchtower_async.settings import Settings

EXIT_DONE = 0
EXIT_FAILED = 1

IMAGE_VARIABLE = "WATCHTOWER_ASYNC_IMAGE"
USUAL_IMAGE = "watchtower-async:latest"
_STANDARD_INPUT = "-"
_LARGEST = 4 * 1024 * 1024
_FIND_SECONDS = 60


def run_migrate(line: CommandLine, settings: Settings, environ: Mapping[str, str]) -> int:
    """Run the command and return its exit code."""
    if bool(line.names) is ("--find" in line.switches):
        raise WatchtowerError("'migrate' takes a compose file, the output of docker inspect, -, or --find")
    image = environ.get(IMAGE_VARIABLE) or USUAL_IMAGE
    writes = "--write" in line.switches
    reports: list[Report] = []
    if "--find" in line.switches:
        _no_file_to_write(writes)
        found = anyio.run(_find, settings, settings.engine.environment(environ))
        reports += [_about_container(item, image, "found on the engine") for item in found]
    for name in line.names:
        reports += _about_file(name, image, environ, writes=writes)
    _print(reports, as_json="--json" in line.switches)
    return EXIT_DONE if reports and all(report.can_be_carried_over for report in reports) else EXIT_FAILED


def _no_file_to_write(writes: bool) -> None:
    if writes:
        raise WatchtowerError("--write changes compose files only: put the service that is shown into one")


def _print(reports: list[Report], *, as_json: bool) -> None:
    if as_json:
        document = {"services": [report.as_json() for report in reports]}
        print(json.dumps(document, indent=2, ensure_ascii=False))  # noqa: T201 - this is the command's answer
        return
    lines = [text for report in reports for text in (*report.lines(), "")] or ["No Watchtower was found."]
    for text in lines:
        print(_plain(text))  # noqa: T201


def _plain(text: str) -> str:
    """Return a text without what moves the cursor: files and containers have a say in it."""
    return "".join(letter if letter.isprintable() or letter == "\n" else "?" for letter in text.replace("\r\n", "\n"))


def _about_file(name: str, image: str, environ: Mapping[str, str], *, writes: bool) -> list[Report]:
    text = _read(name)
    documents = _inspected(text)
    if documents is not None:
        _no_file_to_write(writes)
        found = (read_container(document) for document in documents)
        return [_about_container(item, image, name) for item in found if item is not None]
    if writes and name == _STANDARD_INPUT:
        raise WatchtowerError("--write needs the name of the compose file")
    try:
        return _about_compose_file(name, text, image, environ, writes=writes)
    except ComposeFileError as error:
        raise WatchtowerError(f"{_shown(name)}: {error}") from None


def _inspected(text: str) -> list[Mapping[str, Any]] | None:
    """Return the documents that `docker inspect` printed; None for any other text."""
    if not text.lstrip().startswith(("[", "{")):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    documents = found if isinstance(found, list) else [found]
    return documents if all(isinstance(item, dict) and "Config" in item for item in documents) else None


def _about_compose_file(name: str, text: str, image: str, environ: Mapping[str, str], *, writes: bool) -> list[Report]:
    directory = Path.cwd() if name == _STANDARD_INPUT else Path(name).absolute().parent
    tree = read_tree(text)
    files = {path: content for path in env_files_of(tree) if (content := _content(directory / path)) is not None}
    dot_env = _content(directory / ".env")
    surroundings = Surroundings({**parse_env_file(dot_env or ""), **environ}, files)
    reports: list[Report] = []
    new = text
    for service_name, _, service in watchtowers_in(tree, surroundings):
        findings = assess(service, COMMANDS).findings
        shown = ""
        try:
            edited = edit_service(new, service, image=image, project_directory=str(directory))
        except ComposeFileError as error:
            if writes:
                raise
            findings += (Finding(FindingKind.ADVICE, "", str(error)),)
        else:
            new, findings, shown = edited.text, findings + edited.findings, show_service(edited.text, service_name)
        reports.append(Report(service_name, _shown(name), str(service.program), findings, shown))
    if writes and reports:
        if not all(report.can_be_carried_over for report in reports):
            _print(reports, as_json=False)
            raise WatchtowerError(f"{name} is as it was: change first what the updater would not start with")
        _say_written(name, _write(Path(name), text, new))
    return reports


def _say_written(name: str, backup: Path) -> None:
    print(f"{name} is written; what it was is in {backup}.", file=sys.stderr)  # noqa: T201 - beside the answer


def _about_container(found: FoundContainer, image: str, origin: str) -> Report:
    service, findings = found.service, assess(found.service, COMMANDS).findings
    text, edited = write_service(found, image=image)
    if found.config_files:
        advice = f"compose made it from {found.config_files}: migrate that file, to keep its form"
        edited += (Finding(FindingKind.ADVICE, "", advice),)
    return Report(service.name, _shown(origin), str(service.program), (*findings, *edited), text)


def _shown(name: str) -> str:
    return "standard input" if name == _STANDARD_INPUT else name


def _read(name: str) -> str:
    try:
        if name == _STANDARD_INPUT:
            data = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with Path(name).open("rb") as file:
                data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise WatchtowerError(f"{_shown(name)} is larger than {_LARGEST // 1024 // 1024} MiB")
        return data.decode("utf-8")
    except OSError as error:
        raise WatchtowerError(f"{name} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WatchtowerError(f"{_shown(name)} is not UTF-8 text") from None


def _content(path: Path) -> str | None:
    """Return what stands in a file beside a compose file; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_LARGEST).decode("utf-8")
    except (OSError, UnicodeDecodeError, ValueError):
        return None


def _write(path: Path, old: str, new: str) -> Path:
    """Put the new text in place of the old one at once, keep the old one beside it, and return where."""
    # A link is followed, so that it stays one.
    path = path.resolve()
    try:
        backup = _backup(path, old)
        details = path.stat()
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(new.encode())
                os.fchmod(file.fileno(), stat.S_IMODE(details.st_mode))
                _keep_owner(file.fileno(), details)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        hint = "; mount its directory and not the file" if path.is_mount() else ""
        raise WatchtowerError(f"{path} cannot be written: {error.strerror}{hint}") from None
    return backup


def _keep_owner(handle: int, details: os.stat_result) -> None:
    if (details.st_uid, details.st_gid) != (os.geteuid(), os.getegid()):
        os.fchown(handle, details.st_uid, details.st_gid)


def _backup(path: Path, old: str) -> Path:
    """Write the old text into a file that is not there yet. It may hold secrets, so it is as private as the first."""
    mode = stat.S_IMODE(path.stat().st_mode)
    for candidate in _backup_names(path):
        try:
            handle = os.open(candidate, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError:
            continue
        with os.fdopen(handle, "wb") as file:
            file.write(old.encode())
            file.flush()
            os.fsync(file.fileno())
        return candidate
    raise OSError(0, "there are too many backups beside it")


def _backup_names(path: Path) -> Iterator[Path]:
    yield path.with_name(f"{path.name}.watchtower")
    for number in range(2, 100):
        yield path.with_name(f"{path.name}.watchtower-{number}")


async def _find(settings: Settings, environ: Mapping[str, str]) -> tuple[FoundContainer, ...]:
    """Return the Watchtower containers of the engine. Raises EngineUnavailableError."""
    address = resolve_address(
        host=settings.engine.host,
        environ=environ,
        inside_container=runs_in_container(),
        config_dir=settings.registry.config_directory,
    )
    try:
        with anyio.fail_after(_FIND_SECONDS):
            async with connect_engine(address) as engine:
                documents = []
                for identity in _candidates(await engine.list_containers()):
                    try:
                        documents.append(await engine.inspect_container(identity))
                    except NoSuchObjectError:
                        continue  # it went away in between
    except TimeoutError:
        raise EngineUnavailableError(f"{address.url} did not answer within {_FIND_SECONDS} seconds") from None
    found = (read_container(document) for document in documents)
    return tuple(item for item in found if item is not None)


def _candidates(containers: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for container in containers:
        labels = container.get("Labels")
        texts = {str(key): str(value) for key, value in labels.items()} if isinstance(labels, Mapping) else {}
        if container.get("Id") and program_in(str(container.get("Image") or ""), texts) is not None:
            yield str(container["Id"])
