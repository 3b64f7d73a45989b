"""Service URLs of shoutrrr and Apprise, what they deliver to, and that their secrets stay secret."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from watchtower_async.notify.services import Service, read_service, read_services
from watchtower_async.notify.shoutrrr import Webhook

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")

MARKER = "Sw0rdfish"
T24, A30, U30 = "t" * 24, "a" * 30, "u" * 30
HEX32 = "0123456789abcdef0123456789abcdef"
SLACK = ("T00000000", "B00000000", "XXXXXXXXXXXXXXXXXXXXXXXX")
WORKFLOW = (
    "https://prod-1.westus.logic.azure.com:443/workflows/643e69f83c8944438d68119179a10a64"
    "/triggers/manual/paths/invoke?api-version=2016-06-01&sp=%2Ftriggers&sv=1.0&sig=KODuebWbDGYFr0z0eu"
)

TABLE: tuple[tuple[str, str], ...] = (
    ("bark://:devkey@b.example.com:8080/?sound=bell&badge=2", "barks://b.example.com:8080/devkey?sound=bell&badge=2"),
    ("bark://:devkey@b.example.com/?scheme=http", "bark://b.example.com/devkey"),
    (
        "discord://tok_en-AB@123456?username=wt&avatar=https://x.y/a.png&thread_id=7&color=0x406170",
        "discord://wt@123456/tok_en-AB?avatar_url=https%3A%2F%2Fx.y%2Fa.png&thread=7",
    ),
    ("googlechat://chat.googleapis.com/v1/spaces/FOO/messages?key=bar&token=baz", "gchat://FOO/bar/baz"),
    ("hangouts://chat.googleapis.com/v1/spaces/FOO/messages?key=bar&token=baz", "gchat://FOO/bar/baz"),
    ("gotify://g.example.com:8080/sub/Aaaaaaaaaaaaaaa?priority=7", "gotifys://g.example.com:8080/sub/Aaaaaaaaaaaaaaa?priority=8"),
    ("gotify://g.example.com/Aaaaaaaaaaaaaaa?DisableTLS=Yes&title=", "gotify://g.example.com/Aaaaaaaaaaaaaaa?priority=0"),
    ("ifttt://keyABC/?events=e1,e2&value1=x", "ifttt://keyABC@e1/e2?+value1=x&-value3=yes"),
    (f"join://shoutrrr:{HEX32}@join/?devices={HEX32},group.all", f"join://{HEX32}/{HEX32}/group.all"),
    (
        "matrix://user:pass@m.example.com:8448/?rooms=!id1:m.example.com,alias2",
        "matrixs://user:pass@m.example.com:8448/%21id1%3Am.example.com/%23alias2",
    ),
    ("matrix://:token@m.example.com/?disabletls=yes", "matrix://token@m.example.com/?mode=off"),
    (f"mattermost://bot@mm.example.com/{T24}/town", f"mmosts://bot@mm.example.com/{T24}?channel=town"),
    ("ntfy://u:p@n.example.com/topic?priority=5&tags=a,b", "ntfys://u:p@n.example.com/topic?priority=max&xtags=a%2Cb"),
    ("ntfy:///topic", "ntfys://ntfy.sh/topic"),
    ("ntfy://:tk_abcdef@n.example.com/topic?scheme=http", "ntfy://n.example.com/topic?token=tk_abcdef"),
    ("opsgenie://api.opsgenie.com/key-1?priority=P2&details=a:b", "opsgenie://key-1/?priority=2&+a=b"),
    ('opsgenie://api.eu.opsgenie.com/key-1?details={"a":"b"}', "opsgenie://key-1/?region=eu&+a=b"),
    ("pushbullet://o.token/device", "pbul://o.token/device"),
    ("pushbullet://o.token/#channel", "pbul://o.token/%23channel"),
    (f"pushover://shoutrrr:{A30}@{U30}/?devices=d1,d2&priority=1", f"pover://{U30}@{A30}/d1/d2?priority=1"),
    (
        "rocketchat://bot@rc.example.com:3000/tokenA/tokenB/chan",
        "rockets://bot@rc.example.com:3000/%23chan?webhook=tokenA%2FtokenB&mode=webhook",
    ),
    ("rocketchat://rc.example.com/tokenA/tokenB/@user", "rockets://rc.example.com/%40user?webhook=tokenA%2FtokenB&mode=webhook"),
    (f"slack://hook:{'-'.join(SLACK)}@webhook?botname=w&color=%23406170", f"slack://w@{'/'.join(SLACK)}"),
    (f"slack://bot@{'/'.join(SLACK)}", f"slack://bot@{'/'.join(SLACK)}"),
    ("slack://xoxb:123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N@C001CH4NN3L", "slack://xoxb-123456789012-1234567890123-4mt0t4l1YL3g1T5L4cK70k3N/%2BC001CH4NN3L"),
    (f"teams://?color=1&host={quote(WORKFLOW, safe='')}", WORKFLOW),
    (
        "telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=@channel,-100123:45&parsemode=HTML",
        "tgram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/%40channel/-100123%3A45?format=html&preview=yes",
    ),
    (
        "telegram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw@telegram?chats=1&notification=No&preview=No",
        "tgram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/1?format=text&silent=yes&preview=no",
    ),
    (f"zulip://wt-bot%40org.zulipchat.com:{HEX32}@org.zulipchat.com/?stream=s", f"zulip://wt@org.zulipchat.com/{HEX32}/s"),
    ("lark://open.larksuite.com/abcd-1234", "lark://abcd-1234/"),
    ("lark://open.feishu.cn/abcd-1234", "feishu://abcd-1234/"),
    ("signal://u:p@s.example.com:8080/+15551234567/+15557654321", "signals://u:p@s.example.com:8080/%2B15551234567/%2B15557654321"),
    ("wecom://693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa", "wecombot://693axxx6-7aoc-4bc4-97a0-0ec2sifa5aaa/"),
    (f"pagerduty:///{HEX32}?severity=error", f"pagerduty://{HEX32}@none/?severity=error"),
    (f"pagerduty://{HEX32}", f"pagerduty://{HEX32}@none/"),
    (f"pagerduty://events.eu.pagerduty.com/{HEX32}", f"pagerduty://{HEX32}@none/?region=eu"),
    (f"twilio://AC{HEX32}:{HEX32}@15551234567/15557654321", f"twilio://AC{HEX32}:{HEX32}@15551234567/15557654321"),
    ("notifiarr://apikey?channel=123456789&name=wt", "notifiarr://apikey/%23123456789?source=wt"),
    ("smtp://m.example.com:465/?from=a@x.org&to=b@x.org", "mailtos://m.example.com:465/?smtp=m.example.com&from=a%40x.org&to=b%40x.org&format=text&mode=ssl"),
    (
        "smtp://me%40x.org:pw@m.example.com:587/?from=a@x.org&to=c@x.org,e@y.org&fromname=WT&usehtml=yes",
        (
            "mailtos://me%40x.org:pw@m.example.com:587/?smtp=m.example.com&from=a%40x.org&name=WT"
            "&to=c%40x.org%2Ce%40y.org&format=html&mode=starttls"
        ),
    ),
    (
        "smtp://m.example.com:25/?from=a@x.org&to=b@x.org&encryption=None&usestarttls=No",
        "mailto://m.example.com:25/?smtp=m.example.com&from=a%40x.org&to=b%40x.org&format=text&mode=insecure",
    ),
)  # fmt: skip


@pytest.mark.parametrize(("given", "expected"), TABLE)
def test_shoutrrr_url_becomes_the_apprise_url_of_its_service(given: str, expected: str) -> None:
    """Each service that Watchtower can name is delivered to through Apprise, with its parameters."""
    assert (expected,) == read_service(given).target.urls


@pytest.mark.parametrize("url", [expected for _, expected in TABLE])
def test_every_translated_url_is_one_that_apprise_takes(url: str) -> None:
    """The right-hand side of the table is no invention: Apprise makes a service of it."""
    import apprise  # noqa: PLC0415

    assert apprise.Apprise.instantiate(url) is not None


def test_mqtt_keeps_its_parameters() -> None:
    """The client id and what is retained are carried over (Apprise needs a package of its own to deliver it)."""
    found = read_service("mqtt://u:p@mq.example.com/wt/topic?qos=1&retained=yes&clientid=c").target.urls
    assert found == ("mqtt://u:p@mq.example.com/wt/topic?qos=1&retain=yes&client_id=c",)
    assert read_service("mqtts://mq.example.com/t?disabletlsverification=yes").target.urls == (
        "mqtts://mq.example.com/t?verify=no",
    )


def test_mail_relay_without_tls_is_still_reached() -> None:
    """STARTTLS comes first; a relay that offers none is used without, as nobody logs in there."""
    urls = read_service("smtp://relay:25/?auth=None&fromaddress=a@x.org&toaddresses=b@x.org").target.urls
    assert [url.rpartition("mode=")[2] for url in urls] == ["starttls", "insecure"]


def test_mail_password_is_never_sent_without_tls_to_another_machine() -> None:
    """There is no second try without encryption when a password is given."""
    urls = read_service("smtp://u:p@relay:25/?from=a@x.org&to=b@x.org").target.urls
    assert [url.rpartition("mode=")[2] for url in urls] == ["starttls"]


def test_generic_without_template_sends_the_bare_message() -> None:
    """Apprise has no such service, so it is a webhook of ours."""
    target = read_service("generic://h.example.com:9/hook/x?contenttype=text/plain&a=b&_title=q").target
    assert Webhook(url="https://h.example.com:9/hook/x?a=b&title=q", content_type="text/plain") == target.webhook


def test_generic_with_template_sends_an_object_with_its_keys() -> None:
    """Keys, headers and further values are the receiver's."""
    target = read_service(
        "generic+http://h.example.com/x?template=json&messagekey=text&titlekey=head&@acceptLanguage=de&$k=v&method=put"
    ).target
    expected = Webhook(
        url="http://h.example.com/x",
        method="PUT",
        message_key="text",
        title_key="head",
        headers={"Accept-Language": "de"},
        extra={"k": "v"},
    )
    assert expected == target.webhook


def test_logger_goes_to_the_log() -> None:
    """It needs nothing else."""
    assert read_service("logger://").target.is_log


def test_retired_teams_connector_is_accepted_and_says_what_to_do() -> None:
    """An updater must not stay down because of a service that Microsoft has switched off."""
    target = read_service("teams://group@tenant/alt/owner?host=org.webhook.office.com").target
    assert target.urls == ()
    assert "workflow" in target.problem


@pytest.mark.parametrize(
    "url",
    [
        "json://user:pass@h.example.com/path",
        "tgram://110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw/1",
        "discord://123456/token",
        "matrixs://token@m.example.com/!room",
        "ntfy://topic",
        "pagerduty://key@api",
        "zulip://bot@org/token/stream",
        "opsgenie://key/user",
        "notifiarr://key/channel",
        "mailto://u:p@x.org",
        "https://hooks.slack.com/services/A/B/C",
    ],
)
def test_apprise_url_is_passed_on_as_it_is(url: str) -> None:
    """Both families of URLs work side by side."""
    service = read_service(url)
    assert ((url,), True) == (service.target.urls, service.is_apprise)


def test_apprise_meaning_of_a_shared_scheme_can_be_asked_for() -> None:
    """Gotify in shoutrrr is TLS, in Apprise it is not, and the two look the same."""
    assert read_service("apprise+gotify://g.example.com/token").target.urls == ("gotify://g.example.com/token",)


def test_parameter_that_is_not_carried_over_is_named() -> None:
    """Looks are dropped in silence, what a person may miss is not."""
    assert read_service("ntfy://h.example.com/t?cache=no&title=x").target.notes == ("cache is not carried over",)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("no url", "it is not a URL"),
        ("smtp://h/?to=a@x.org", "sender (from) is missing"),
        ("smtp://h/?from=a@x.org", "receiver (to) is missing"),
        ("smtp://h/?from=a@x.org&to=b@x.org&auth=OAuth2", "OAuth2 is not supported"),
        ("smtp://h/?from=a@x.org&to=b@x.org&usestarttls=perhaps", "usestarttls is neither Yes nor No"),
        ("slack://hook:short@webhook", "not of the form hook:A-B-C"),
        ("gotify://h.example.com", "token is missing"),
        ("telegram://1:token@telegram", "list of chats is missing"),
        ("generic://h/?template=xml", "template is not known"),
        ("lark://open.larksuite.com/t?secret=abc", "signed messages are not supported"),
        ("rocketchat://h/one", "token is missing"),
        ("zulip://me%40x.org:key@h/?stream=s", "name-bot@host"),
    ],
)
def test_unusable_url_says_what_is_wrong(url: str, reason: str) -> None:
    """The reason names the part, so that its owner can put it right."""
    with pytest.raises(ValueError, match=r".+") as caught:
        read_service(url)
    assert reason in str(caught.value)


SECRET_URLS = (
    f"slack://hook:T{MARKER[:8]}-B{MARKER[:8]}-{MARKER}{'X' * 15}@webhook",
    f"smtp://user:{MARKER}@m.example.com:25/?from=a@x.org&to=b@x.org",
    f"discord://{MARKER}@123456",
    f"ntfy://{MARKER}",
    f"ntfy://n.example.com/{MARKER}",
    f"generic://h.example.com/{MARKER}?template=json&@Authorization={MARKER}",
    f"json://user:{MARKER}@h.example.com/{MARKER}?token={MARKER}",
    f"pushbullet://{MARKER}",
    f"wecom://{MARKER}",
    f"https://discord.com/api/webhooks/1/{MARKER}",
    f"tgram://110201543:{MARKER}/1",
    f"matrix://:{MARKER}@m.example.com",
    f"matrix://{MARKER}",
)  # fmt: skip


@pytest.mark.parametrize("url", SECRET_URLS)
def test_secret_of_a_service_is_in_no_text_about_it(url: str) -> None:
    """Neither `repr` nor the description holds it, and it is taken out of what others say."""
    service = read_service(url)
    shown = f"{service!r} {service.describe()} {service.target!r} {service.mask(f'cannot reach {url}')}"
    assert MARKER[:8] not in shown


@pytest.mark.parametrize(
    "url",
    [
        f"smtp://user:{MARKER}@h:port/?from=a@x.org",
        f"slack://hook:{MARKER}@webhook",
        f"smtp://u:{MARKER}@h/?auth=OAuth2&token={MARKER}",
        f"zulip://{MARKER}%40x.org:{MARKER}@h/",
        f"pagerduty://{MARKER}/{MARKER}",
        f"{MARKER} is no URL",
    ],
)
def test_error_about_a_url_does_not_hold_its_secret(url: str) -> None:
    """A log of a failed start is shown to others."""
    with pytest.raises(ValueError, match=r".+") as caught:
        read_service(url)
    assert MARKER not in str(caught.value)


def test_description_shows_scheme_and_host_only() -> None:
    """That is enough to know which one is meant."""
    urls = (
        "smtp://u:p@m.example.com:25/?from=a@x.org&to=b@x.org",
        f"slack://hook:{'-'.join(SLACK)}@webhook",
        "logger://",
    )
    expected = ["smtp://***@m.example.com:25", "slack://***", "logger://"]
    assert expected == [read_service(url).describe() for url in urls]


def test_services_that_look_the_same_have_names_of_their_own() -> None:
    """What waits for one must not be taken for the other's."""
    services = read_services([f"discord://{token}@1" for token in ("first", "second", "third")])
    assert [service.name for service in services] == ["discord://***", "discord://*** #2", "discord://*** #3"]


def test_all_problems_are_told_at_once() -> None:
    """Nobody wants to start the program once for each."""
    with pytest.raises(ValueError, match=r".+") as caught:
        read_services(["gotify://h", "logger://", "bark://:k@h/path"])
    assert len(str(caught.value).splitlines()) == 2


def test_a_word_of_a_parameter_is_not_masked() -> None:
    """`severity=error` must not make a riddle of every message with an error."""
    service: Service = read_service(f"pagerduty:///{HEX32}?severity=error")
    assert service.mask(f"an error of {HEX32}") == "an error of ***"
