"""The text of a compose file is changed in single places, or not at all."""

from __future__ import annotations

from difflib import ndiff

import pytest
import yaml

from watchtower_async.migrate.compose_edit import EditedFile, edit_service
from watchtower_async.migrate.compose_reading import Surroundings, env_files_of, watchtowers_in
from watchtower_async.migrate.compose_shown import show_service
from watchtower_async.migrate.finding import FindingKind
from watchtower_async.migrate.old_service import OldService
from watchtower_async.migrate.text import interpolate, parse_env_file
from watchtower_async.migrate.yaml_tree import ComposeFileError, plain, read_tree

IMAGE = "watchtower-async:latest"
STATE = "watchtower-state:/var/lib/watchtower-async"

PLAIN = """\
services:
  watchtower:  # the updater
    image: containrrr/watchtower:1.7.1  # pinned
    volumes:
      - /var/run/docker.sock:/var/run/docker.sock
      # the logins
      - ~/.docker/config.json:/config.json

  # next
  web:
    image: nginx
"""


def service_in(text: str, **files: str) -> OldService:
    """Read the one Watchtower of a compose file."""
    ((_, _, service),) = watchtowers_in(read_tree(text), Surroundings({}, files))
    return service


def edited(text: str, project_directory: str = "") -> EditedFile:
    """Change a compose file with one Watchtower."""
    return edit_service(text, service_in(text), image=IMAGE, project_directory=project_directory)


def changes(old: str, new: str) -> list[str]:
    """Return the lines that went and came."""
    return [line.rstrip() for line in ndiff(old.splitlines(), new.splitlines()) if line[0] in "+-"]


def test_only_what_must_change_is_changed() -> None:
    """Comments, order, blank lines and other services stay as they are, to the letter."""
    assert changes(PLAIN, edited(PLAIN).text) == [
        "-     image: containrrr/watchtower:1.7.1  # pinned",
        "+     image: watchtower-async:latest  # pinned",
        "-       - ~/.docker/config.json:/config.json",
        "+       - ~/.docker:/config:ro",
        f"+       - {STATE}",
        "+     environment:",
        "+       - DOCKER_CONFIG=/config",
        "+",
        "+ volumes:",
        "+   watchtower-state:",
    ]


def test_each_change_is_told() -> None:
    """Somebody who reads the answer knows what is different in the file."""
    names = [finding.name for finding in edited(PLAIN).findings if finding.kind is FindingKind.EDITED]
    assert names == ["image", "DOCKER_CONFIG", "volumes", "volumes"]


FORMS = {
    "indentless": "services:\n  w:\n    image: containrrr/watchtower\n    volumes:\n"
    "    - ~/.docker/config.json:/config.json\n",
    "mapping": "services:\n  w:\n    environment:\n      A: b\n    image: 'containrrr/watchtower'\n    volumes:\n"
    "      - {type: bind, source: ~/.docker/config.json, target: /config.json, read_only: true}\nvolumes:\n  a:\n",
    "long": "services:\n  w:\n    image: containrrr/watchtower\n    volumes:\n      - type: bind\n"
    '        source: "~/.docker/config.json"\n        target: /config.json\n    environment:\n    - A=b\nvolumes:\n',
    "flow": "services: {w: {image: containrrr/watchtower, volumes: ['~/.docker/config.json:/config.json'], "
    "environment: {A: b}}}\n",
    "json": '{"services": {"w": {"image": "containrrr/watchtower", "volumes": '
    '["~/.docker/config.json:/config.json"]}}}',
    "empty flow": "services:\n  w:\n    image: containrrr/watchtower\n    environment: {}\n"
    "    volumes: [~/.docker/config.json:/config.json]\nvolumes: {}\n",
    "no line break": "volumes:\n  w-state: {}\nservices:\n  w:\n    image: containrrr/watchtower\n"
    "    volumes:\n      - ~/.docker/config.json:/config.json",
    "windows": PLAIN.replace("watchtower:  #", "w:  #").replace("\n", "\r\n"),
    "merged": "x-w: &w\n  restart: always\n  image: containrrr/watchtower\nservices:\n  w:\n    <<: *w\n    volumes:\n"
    "      - ~/.docker/config.json:/config.json\n",
    "block text": "services:\n  w:\n    image: containrrr/watchtower\n    volumes:\n"
    "      - ~/.docker/config.json:/config.json\n    environment:\n      T: |\n        a\n\n        b\n",
    "variable": "services:\n  w:\n    image: containrrr/watchtower:${TAG:-latest}\n    volumes:\n"
    "      - ${HOME:-/root}/.docker/config.json:/config.json:ro\n",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_compose_file_is_changed(form: str) -> None:
    """However the file is written, the new one is valid and means the same but for the three changes."""
    old = FORMS[form]
    new = yaml.safe_load(edited(old).text)
    service = new["services"]["w"]
    assert service["image"] == IMAGE
    mounts = [item if isinstance(item, str) else f"{item['source']}:{item['target']}" for item in service["volumes"]]
    state = "w-state-2" if form == "no line break" else "w-state"
    assert [item for item in mounts if ".docker:/config" in item]
    assert f"{state}:/var/lib/watchtower-async" in mounts
    assert state in new["volumes"]
    given = service["environment"]
    assert "DOCKER_CONFIG=/config" in (given if isinstance(given, list) else [f"{key}={given[key]}" for key in given])
    before = yaml.safe_load(old)["services"]["w"]
    assert {"image", "volumes", "environment"} >= {key for key in service if before.get(key) != service[key]}


def test_line_ends_stay_what_they_are() -> None:
    """A file from Windows has no line that ends otherwise."""
    assert "\n" not in edited(FORMS["windows"]).text.replace("\r\n", "")


@pytest.mark.parametrize(
    ("source", "directory"),
    [("./config.json", ""), ("~/config.json", ""), ("/root/config.json", ""), ("/srv/stack/config.json", "/srv/stack"),
     ("/srv/auth.json", ""), ("${HOME}/config.json", "")],
)  # fmt: skip
def test_directory_with_other_things_is_not_mounted(source: str, directory: str) -> None:
    """A home or a project is not opened to the updater for the sake of one file; a person is told what to do."""
    text = PLAIN.replace("~/.docker/config.json", source)
    found = edited(text, directory)
    assert f"- {source}:/config.json" in found.text
    assert "DOCKER_CONFIG" not in found.text
    assert [item.name for item in found.findings if item.kind is FindingKind.ADVICE] == ["volumes"]


def test_configured_directory_is_kept() -> None:
    """Where DOCKER_CONFIG says where the logins are, they stay there."""
    text = PLAIN.replace("/config.json\n\n", "/logins/config.json\n    environment:\n      DOCKER_CONFIG: /logins\n\n")
    lines = changes(text, edited(text).text)
    assert "+       - ~/.docker:/logins:ro" in lines
    assert not any("DOCKER_CONFIG" in line for line in lines)


def test_existing_state_volume_is_kept() -> None:
    """What is mounted for the state already is not mounted twice."""
    text = PLAIN.replace("      # the logins", "      - ./state:/var/lib/watchtower-async")
    assert edited(text).text.count("/var/lib/watchtower-async") == 1


SHARED = """\
x-env: &env
  A: b
x-vol: &vol
  - ~/.docker/config.json:/config.json
services:
  w:
    image: containrrr/watchtower
    environment: *env
    volumes: *vol
  other:
    image: nginx
    environment: *env
    volumes: *vol
"""


def test_what_others_share_is_left_to_a_person() -> None:
    """An anchor is not changed, because it stands for other services as well."""
    found = edited(SHARED)
    assert changes(SHARED, found.text) == [
        "-     image: containrrr/watchtower", f"+     image: {IMAGE}",
    ]  # fmt: skip
    assert FindingKind.ADVICE in {item.kind for item in found.findings}


def test_image_that_others_share_is_refused() -> None:
    """The image of another service is never changed with it."""
    text = "services:\n  w:\n    image: &i containrrr/watchtower\n  v:\n    image: *i\n"
    first = next(watchtowers_in(read_tree(text), Surroundings({}, {})))[2]
    with pytest.raises(ComposeFileError, match="by hand"):
        edit_service(text, first, image=IMAGE)


def test_two_watchtowers_of_a_file_are_changed_one_after_the_other() -> None:
    """Each gets a state of its own."""
    text = "services:\n  a:\n    image: containrrr/watchtower\n  b:\n    image: nickfedor/watchtower\n"
    for _, _, service in list(watchtowers_in(read_tree(text), Surroundings({}, {}))):
        text = edit_service(text, service, image=IMAGE).text
    document = yaml.safe_load(text)
    assert document["volumes"] == {"a-state": None, "b-state": None}
    assert not list(watchtowers_in(read_tree(text), Surroundings({}, {})))


@pytest.mark.parametrize(
    "text", ["", "a: [", "- a\n", "services: 1\n", "a: 1\n---\nb: 2\n", "a: *b\n", "[" * 99 + "]" * 99]
)
def test_file_that_is_no_compose_file_is_refused(text: str) -> None:
    """It is told in one sentence."""
    with pytest.raises(ComposeFileError):
        list(watchtowers_in(read_tree(text), Surroundings({}, {})))


@pytest.mark.parametrize("text", [*FORMS.values(), SHARED])
def test_tree_reads_what_yaml_means(text: str) -> None:
    """Aliases and merge keys are understood as PyYAML understands them."""
    assert yaml.load(text, Loader=yaml.BaseLoader).keys() == plain(read_tree(text)).keys()
    read = yaml.safe_load(text)["services"]
    assert {name: set(item) for name, item in read.items()} == {
        name: set(item) for name, item in plain(read_tree(text))["services"].items()
    }


def test_env_files_are_read_below_the_environment() -> None:
    """What the service says itself wins over its file."""
    text = (
        "services:\n  w:\n    image: containrrr/watchtower\n    env_file: [w.env, {path: b.env, required: false}]\n"
        "    environment:\n      B: own\n"
    )
    assert env_files_of(read_tree(text)) == ("w.env", "b.env")
    service = service_in(text, **{"w.env": "A=1\nB=file\n"})
    assert {name: text.value for name, text in service.environment.items()} == {"A": "1", "B": "own"}
    assert service.notes == ()
    assert "w.env" in service_in(text).notes[0]


def test_env_file_forms_are_read() -> None:
    """Comments, quotes and `export` are those of compose."""
    content = "# c\nexport A=1\nB='x # y'\nC=\"z\" # c\nD=a b # c\nE=\nF\n"
    assert parse_env_file(content) == {"A": "1", "B": "x # y", "C": "z", "D": "a b", "E": ""}


@pytest.mark.parametrize(
    ("text", "value", "missing"),
    [
        ("$A-${A}", "1-1", ()), ("${B:-x}", "x", ()), ("${E:-x}${E-y}", "x", ()), ("$$A", "$A", ()),
        ("${B}", "${B}", ("B",)), ("${B:?say}", "${B:?say}", ("B",)), ("${A:+x}${B:+y}", "x", ()), ("$1", "$1", ()),
    ],
)  # fmt: skip
def test_variables_are_put_in_as_compose_does(text: str, value: str, missing: tuple[str, ...]) -> None:
    """Defaults, alternatives and escapes are known; what has no value stays and is named."""
    found = interpolate(text, {"A": "1", "E": ""})
    assert (found.value, found.missing) == (value, missing)


@pytest.mark.parametrize(
    "lines",
    [
        "    environment:\n      REPO_PASS: MARKER\n      OTHER: MARKER\n",
        '    environment:\n      - REPO_PASS=MARKER\n      - WATCHTOWER_NOTIFICATION_URL="slack://MARKER"\n',
        "    command: [--http-api-token, MARKER, '--repo-pass=MARKER', --notificaton-url, MARKER]\n",
        "    command: --cleanup --http-api-token MARKER\n",
        "    environment: {REPO_PASS: MARKER}\n",
    ],
)
def test_secret_is_not_shown(lines: str) -> None:
    """The service can be shown to others; the file has the secret still."""
    text = edited(f"services:\n  w:\n    image: containrrr/watchtower\n{lines}").text
    assert "MARKER" in text
    shown = show_service(text, "w")
    assert "MARKER" not in shown
    assert IMAGE in shown


def test_variable_in_place_of_a_secret_is_shown() -> None:
    """It is no secret, and one wants to see it."""
    lines = "    environment:\n      REPO_PASS: ${REPO_PASS:?}\n      WATCHTOWER_SCOPE: prod\n"
    shown = show_service(f"services:\n  w:\n    image: containrrr/watchtower\n{lines}", "w")
    assert "${REPO_PASS:?}" in shown
    assert "prod" in shown
