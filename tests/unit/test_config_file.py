"""What is read from `config.json`, `.dockercfg` and `DOCKER_AUTH_CONFIG`."""

import base64
import json
import subprocess
import traceback

import pytest

from watchtower_async.credentials.config_file import (
    EMPTY,
    BrokenEntry,
    ChangeSet,
    ConfigFile,
    EmptyEntry,
    Entry,
    changes_between,
    parse_auth_variable,
    parse_config_file,
    parse_old_config_file,
)
from watchtower_async.credentials.credential import Credential
from watchtower_async.errors import CredentialFileInvalidError

SECRET = "hunter2-marker"
HUB = "https://index.docker.io/v1/"


def encoded(pair: str | bytes) -> str:
    """Base64 of `user:password`."""
    return base64.b64encode(pair.encode() if isinstance(pair, str) else pair).decode()


def parsed(document: object) -> ConfigFile:
    return parse_config_file(json.dumps(document).encode())


def entry_of(fields: object) -> Entry:
    """Read one entry."""
    return parsed({"auths": {"r.example": fields}}).auths["r.example"]


def credential_of(fields: object) -> Credential:
    """Read one entry that can be used."""
    entry = entry_of(fields)
    assert isinstance(entry, Credential)
    return entry


def refusal(data: bytes) -> CredentialFileInvalidError:
    """Return the error that a file causes."""
    with pytest.raises(CredentialFileInvalidError) as info:
        parse_config_file(data)
    return info.value


def test_entry_with_auth_is_a_user_and_a_password() -> None:
    """The usual form, with the entry as its source."""
    credential = credential_of({"auth": encoded("user:pw")})
    assert Credential("user", "pw", source='config.json entry "r.example"') == credential
    assert credential.source == 'config.json entry "r.example"'


@pytest.mark.parametrize(
    ("auth", "expected"),
    [
        pytest.param(encoded("user:a:b:c"), ("user", "a:b:c"), id="the first colon separates"),
        pytest.param(encoded("user:"), ("user", ""), id="empty password"),
        pytest.param("dXNlcjpwYXNzdw", ("user", "passw"), id="no padding"),
        pytest.param("dXNl\r\ncjpw\nYXNzdw==\n", ("user", "passw"), id="wrapped"),
        pytest.param(encoded(b"user:\0\0p\0w\0"), ("user", "p\0w"), id="NUL at the ends"),
        pytest.param(encoded("üser:pässword"), ("üser", "pässword"), id="UTF-8"),
        pytest.param(encoded(b"us\xe9r:p\xe4"), ("usér", "pä"), id="Latin-1"),
        pytest.param(encoded("user:?>?>"), ("user", "?>?>"), id="standard alphabet"),
    ],
)
def test_auth_decodes_as_the_command_line_does(auth: str, expected: tuple[str, str]) -> None:
    """Each way in which base64 of user and password is found in the wild."""
    credential = credential_of({"auth": auth})
    assert expected == (credential.username, credential.password)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"auth": encoded("user")}, "no colon"),
        ({"auth": encoded(":pw")}, "no user name"),
        ({"auth": "_-_-"}, "not base64"),
        ({"auth": "dXNl cjpwdw=="}, "not base64"),
        ({"auth": "dXNlcjpwd===="}, "not base64"),
        ({"auth": "dXNlc"}, "not base64"),
        ({"auth": "=dXNlcjpwdw"}, "not base64"),
        ({"auth": "dXNlcjpwdwé"}, "not base64"),
        ({"auth": "\n"}, "no colon"),
        ({"auth": 5}, '"auth" must be a text'),
        ({"auth": float("nan")}, '"auth" must be a text'),
        ({"identitytoken": ["x"]}, '"identitytoken" must be a text'),
        ("text", "must be an object"),
        ([], "must be an object"),
        (7, "must be an object"),
        ({"password": "pw"}, "no user name"),
        ({"username": "a:b", "password": "pw"}, "colon"),
        ({"registrytoken": "a\r\nX-Evil: 1"}, "characters that no token has"),
    ],
)
def test_unusable_entry_is_broken_and_says_why(fields: object, reason: str) -> None:
    """The reason names the registry, never the value."""
    entry = entry_of(fields)
    assert isinstance(entry, BrokenEntry)
    assert '"r.example"' in entry.text
    assert reason in entry.text


def test_broken_entry_leaves_the_others_alone() -> None:
    """One bad line among twenty registries costs one registry."""
    config = parsed({"auths": {"bad.example": {"auth": "?"}, "good.example": {"auth": encoded("u:p")}}})
    assert isinstance(config.auths["good.example"], Credential)
    assert len(config.problems) == 1
    assert "bad.example" in config.problems[0]


@pytest.mark.parametrize("fields", [None, {}, {"email": "a@b.example"}, {"auth": ""}, {"auth": None}, {"username": ""}])
def test_entry_without_content_is_empty(fields: object) -> None:
    """The mark that a login with a helper leaves."""
    assert EmptyEntry('config.json entry "r.example"') == entry_of(fields)


def test_auth_wins_over_plain_fields() -> None:
    """Both forms in one entry: the command line's own counts."""
    credential = credential_of({"auth": encoded("a:b"), "username": "c", "password": "d"})
    assert (credential.username, credential.password) == ("a", "b")


def test_plain_fields_and_tokens_are_kept_together() -> None:
    """Who uses the credential chooses among the fields."""
    fields = {"username": "u", "password": "p", "identitytoken": "i", "registrytoken": "r", "serveraddress": "x"}
    expected = Credential("u", "p", "i", "r", source='config.json entry "r.example"')
    assert expected == credential_of(fields)


def test_identity_token_needs_no_user() -> None:
    """A refresh token stands alone, and beside the empty password that Azure's tools write."""
    assert credential_of({"identitytoken": "tok"}).identity_token == "tok"
    both = credential_of({"auth": encoded("00000000-0000-0000-0000-000000000000:"), "identitytoken": "tok"})
    assert (both.username, both.password, both.identity_token) == ("00000000-0000-0000-0000-000000000000", "", "tok")


def test_json_key_of_google_survives_the_shells_base64() -> None:
    """A password that is a JSON document of many lines, in base64 of 76 columns, escaped or with raw line breaks."""
    key = json.dumps({"type": "service_account", "private_key": "-----BEGIN\nabc:def\n-----END\n"}, indent=2) + "\n"
    wrapped = subprocess.run(["base64"], input=f"_json_key:{key}".encode(), capture_output=True, check=True).stdout
    assert b"\n" in wrapped.strip()
    escaped = json.dumps({"auths": {"gcr.io": {"auth": wrapped.decode()}}}).encode()
    pasted = b'{"auths": {"gcr.io": {"auth": "' + wrapped + b'"}}}'
    for data in (escaped, pasted):
        entry = parse_config_file(data).auths["gcr.io"]
        assert isinstance(entry, Credential)
        assert ("_json_key", key) == (entry.username, entry.password)


def test_field_names_match_in_any_case_and_registry_keys_keep_theirs() -> None:
    """As Go's decoder does it."""
    config = parsed(
        {
            "AUTHS": {"R.Example": {"Auth": encoded("u:p")}},
            "credsstore": "pass",
            "CREDHELPERS": {"X.Example": "ecr-login"},
        }
    )
    assert list(config.auths) == ["R.Example"]
    assert isinstance(config.auths["R.Example"], Credential)
    assert config.default_helper == "pass"
    assert dict(config.helpers) == {"X.Example": "ecr-login"}


def test_helper_may_be_switched_off_for_a_registry() -> None:
    """The empty text is an answer of its own; null is the same to Go, another type is broken for this registry."""
    config = parsed({"credHelpers": {"a.example": "", "b.example": None, "c.example": 5}})
    assert (config.helpers["a.example"], config.helpers["b.example"]) == ("", "")
    assert isinstance(config.helpers["c.example"], BrokenEntry)


@pytest.mark.parametrize(
    "data",
    [
        b"", b" \r\n\t ", b"\xef\xbb\xbf", b"null", b"{}", b'{"auths": null}', b'{"auths": {}}', b'{"credsStore": ""}',
        b'{"credHelpers": null, "credsStore": null}', b'{"HttpHeaders": {"X-Meta-A": "b"}, "proxies": 5}',
    ],
)  # fmt: skip
def test_file_without_credentials_is_an_empty_configuration(data: bytes) -> None:
    """Absent, null and unknown are no error."""
    assert parse_config_file(data) == EMPTY


def test_byte_order_mark_and_trailing_bytes_are_ignored() -> None:
    """An editor's mark before, and the rest of a longer version after the first value."""
    document = json.dumps({"auths": {"r.example": {"auth": encoded("u:p")}}}).encode()
    assert parse_config_file(document) == parse_config_file(b"\xef\xbb\xbf" + document + b'\n"auths": {}}} \xff')


def test_fields_that_are_there_twice_add_up() -> None:
    """Go decodes a repeated object into the same map; in it the last entry of a name counts."""
    config = parse_config_file(
        b'{"auths": {"a": {"username": "one"}, "b": {"username": "two"}}, "Auths": {"a": {"username": "three"}},'
        b' "credsStore": "x", "credsStore": "y", "credsStore": null}'
    )
    users = {key: entry.username for key, entry in config.auths.items() if isinstance(entry, Credential)}
    assert users == {"a": "three", "b": "two"}
    assert config.default_helper == "y"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[]", "must hold a JSON object"),
        (b'"text"', "must hold a JSON object"),
        (b"5", "must hold a JSON object"),
        (b"NaN", "must hold a JSON object"),
        (b'{"auths": []}', '"auths" must be an object'),
        (b'{"auths": "x"}', '"auths" must be an object'),
        (b'{"credHelpers": 1}', '"credHelpers" must be an object'),
        (b'{"credsStore": {}}', '"credsStore" must be a text'),
        (b'{\n  "auths": {\n    "r.example": {"auth": "', "line 3, column 27"),
        (b'{\n  "auths": oops}', "line 2, column 12"),
        (b"\0" * 64, "line 1, column 1"),
        (b"\xff\xfe{\0}\0", "UTF-16"),
        (b'{"auths": ' * 100_000, "nested too deeply"),
        (b"[" * 1_000_000, "nested too deeply"),
    ],
)
def test_file_of_a_wrong_shape_is_refused_as_a_whole(data: bytes, reason: str) -> None:
    """The error names the file and the place or the field."""
    text = str(refusal(data))
    assert "config.json" in text
    assert reason in text


def test_error_holds_neither_content_nor_context() -> None:
    """Python's decoder keeps the document in its error; a traceback of ours must not reach it."""
    error = refusal(b'{"auths": {"r.example": {"auth": "' + SECRET.encode())
    assert error.__cause__ is None
    assert error.__context__ is None
    assert SECRET not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "value",
    [b"1" * 10_000, b"1e999999", b"-Infinity", b'"\\ud800"', b'"\xff\xfe"', b'{"a": 1, "a": 2}', b"[[[]]]", b'"\0"'],
)
def test_odd_values_of_unknown_fields_do_no_harm(value: bytes) -> None:
    """Nothing outside the known fields can make a configuration useless."""
    config = parse_config_file(b'{"x": ' + value + b', "auths": {"r.example": {"username": "u", "x": ' + value + b"}}}")
    assert isinstance(config.auths["r.example"], Credential)


def test_half_a_character_is_replaced() -> None:
    """An escaped surrogate and a broken byte cannot be encoded again, so they become U+FFFD as in Go."""
    entry = parse_config_file(b'{"auths": {"r.example": {"username": "a\\udc00", "password": "\xc3"}}}').auths[
        "r.example"
    ]
    assert isinstance(entry, Credential)
    assert (entry.username, entry.password) == ("a\ufffd", "\ufffd")
    assert entry.basic_header()
    assert entry.fingerprint()


def test_user_info_of_a_key_is_dropped() -> None:
    """It is no part of the host, and what may be a password is in no source and no problem."""
    config = parsed(
        {"auths": {f"https://user:{SECRET}@r.example/": {"auth": encoded("u:p")}, f"{SECRET}@x.example": {"auth": 5}}}
    )
    assert {"https://r.example/", "x.example"} == set(config.auths)
    assert SECRET not in repr(config.auths) + repr(config.problems)


def test_repr_of_a_configuration_gives_counts() -> None:
    """Enough for a log, and nothing of the content."""
    config = parsed({"auths": {"r.example": {"auth": encoded(f"u:{SECRET}")}}, "credHelpers": {"x.example": "pass"}})
    assert repr(config) == "<ConfigFile: 1 entries, 1 helpers>"


def test_dockercfg_is_the_bare_entries() -> None:
    """The file that came before `config.json`."""
    data = json.dumps({"r.example": {"auth": encoded("u:p"), "email": "e"}, "bad.example": 5}).encode()
    config = parse_old_config_file(data)
    assert Credential("u", "p", source='.dockercfg entry "r.example"') == config.auths["r.example"]
    assert isinstance(config.auths["bad.example"], BrokenEntry)


def test_dockercfg_of_two_lines_is_for_docker_hub() -> None:
    """The oldest form of all."""
    config = parse_old_config_file(f"auth = {encoded('u:p')}\nemail = a@b.example\n".encode())
    assert {HUB: Credential("u", "p", source=f'.dockercfg entry "{HUB}"')} == dict(config.auths)


@pytest.mark.parametrize("data", [b"[]", b"{", b"user = x", b"null x"])
def test_dockercfg_of_another_shape_is_refused(data: bytes) -> None:
    """Text that is neither form; null and what follows is empty, as for the newer file."""
    if data.startswith(b"null"):
        assert parse_old_config_file(data) == EMPTY
        return
    with pytest.raises(CredentialFileInvalidError, match="dockercfg"):
        parse_old_config_file(data)


def test_flat_entries_are_not_accepted_in_config_json() -> None:
    """The command line does not read them either."""
    assert parsed({"r.example": {"auth": encoded("u:p")}}) == EMPTY


def test_auth_variable_holds_entries() -> None:
    """The value that the command line takes."""
    entries = parse_auth_variable(json.dumps({"auths": {"r.example": {"auth": encoded("u:p")}, "e.example": {}}}))
    assert Credential("u", "p", source='DOCKER_AUTH_CONFIG entry "r.example"') == entries["r.example"]
    assert isinstance(entries["e.example"], EmptyEntry)


@pytest.mark.parametrize("text", ["", "  \n", "null", "{}", '{"auths": null}'])
def test_auth_variable_without_entries_is_as_if_unset(text: str) -> None:
    """Nothing is no error."""
    assert dict(parse_auth_variable(text)) == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"auths": {}, "credHelpers": {}}',
        '{"auths": {"r.example": {"auth": "dTpw", "email": "x"}}}',
        '{"auths": {"r.example": {"username": "u", "password": "' + SECRET + '"}}}',
        '{"auths": {"r.example": {"auth": "' + SECRET + '!"}}}',
        '{"auths": {"r.example": "' + SECRET + '"}}',
        '{"auths": {"r.example": {"auth": "dTpw"}}} {}',
        '{"auths": {"r.example": {"auth": "dTpw"}}} ' + SECRET,
        '{"auths": ["' + SECRET + '"]}',
        '{"auths": {"r.example": {"auth": "' + SECRET,
        '"' + SECRET + '"',
        "[" * 100_000,
    ],
)
def test_auth_variable_is_refused_as_a_whole(text: str) -> None:
    """Strict, as the command line is; the error names the variable and shows nothing of it."""
    with pytest.raises(CredentialFileInvalidError, match="DOCKER_AUTH_CONFIG") as info:
        parse_auth_variable(text)
    assert SECRET not in "".join(traceback.format_exception(info.value))
    assert info.value.__context__ is None


OLD = {"auths": {"a": {"auth": encoded("u:p")}, "b": {"auth": encoded("u:p")}, "c": {}}, "credHelpers": {"h": "pass"}}


def test_change_set_names_what_differs() -> None:
    """Per registry key: added, removed, changed; the default helper by itself."""
    new = {"auths": {"a": {"auth": encoded("u:q")}, "b": {"auth": encoded("u:p")}, "d": {}}, "credHelpers": {"h": "x"}}
    expected = ChangeSet(frozenset({"d"}), frozenset({"c"}), frozenset({"a", "h"}), default_helper_changed=True)
    assert expected == changes_between(parsed(OLD), parsed({**new, "credsStore": "pass"}))


def test_other_order_encoding_and_file_are_no_change() -> None:
    """What the configuration means counts."""
    pair = {"username": "u", "password": "p"}
    again = {"Auths": {"c": None, "b": pair, "a": {"auth": "dT\npw"}}, "credHelpers": {"h": "pass"}}
    assert not changes_between(parsed(OLD), parsed(again))
    entries = {"a": {"auth": encoded("u:p")}}
    assert not changes_between(parsed({"auths": entries}), parse_old_config_file(json.dumps(entries).encode()))


def test_filled_and_emptied_entries_are_changes() -> None:
    """A logout that leaves the mark, and a correction of a broken entry."""
    full, empty, broken = ({"auths": {"a": entry}} for entry in ({"auth": encoded("u:p")}, {}, {"auth": "?"}))
    for old, new in ((full, empty), (empty, broken), (broken, full)):
        assert ChangeSet(changed=frozenset({"a"})) == changes_between(parsed(old), parsed(new))


def test_change_set_shows_no_secret() -> None:
    """Names only."""
    old, new = (parsed({"auths": {"a": {"auth": encoded(f"u:{SECRET}{end}")}}}) for end in "12")
    assert SECRET not in repr(changes_between(old, new))
