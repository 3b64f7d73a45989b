"""What messages say: built-in templates, templates in Jinja2, and those written for Go."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import MappingProxyType

import pytest

from watchtower_async.notify.go_template import is_go_template, translate_go_template
from watchtower_async.notify.go_text import go_print, go_printf, go_time, rfc1123
from watchtower_async.notify.report import ContainerReport, LogEntry, Report, State, TemplateData
from watchtower_async.notify.sample import sample_entries, sample_report
from watchtower_async.notify.templates import BUILT_IN, built_in, read_template

NOW = datetime(2024, 1, 2, 15, 4, 5, tzinfo=UTC)
WEB = ContainerReport(
    id="1" * 64, name="web", image="nginx:latest", state=State.UPDATED,
    old_image_id="sha256:" + "a" * 64, new_image_id="sha256:" + "b" * 64,
)  # fmt: skip
DB = ContainerReport(
    id="2" * 64, name="db", image="postgres:16", state=State.FRESH,
    old_image_id="sha256:" + "c" * 64, new_image_id="sha256:" + "c" * 64,
)  # fmt: skip
CACHE = ContainerReport(id="3" * 64, name="cache", image="redis:7", state=State.SKIPPED, error="no answer")
QUEUE = ContainerReport(id="4" * 64, name="queue", image="rabbitmq:3", state=State.FAILED, error="port in use")
LINES = (
    "Found new nginx:latest image (d1c2b3a4f5e6)",
    "Stopping /web (0123456789ab) with SIGTERM",
    "Creating /web",
)
ENTRIES = tuple(LogEntry(line, "info", NOW, MappingProxyType({"n": number})) for number, line in enumerate(LINES))

GO_DEFAULT = """
{{- if .Report -}}
  {{- with .Report -}}
    {{- if ( or .Updated .Failed ) -}}
{{len .Scanned}} Scanned, {{len .Updated}} Updated, {{len .Failed}} Failed
      {{- range .Updated}}
- {{.Name}} ({{.ImageName}}): {{.CurrentImageID.ShortID}} updated to {{.LatestImageID.ShortID}}
      {{- end -}}
      {{- range .Fresh}}
- {{.Name}} ({{.ImageName}}): {{.State}}
      {{- end -}}
      {{- range .Skipped}}
- {{.Name}} ({{.ImageName}}): {{.State}}: {{.Error}}
      {{- end -}}
      {{- range .Failed}}
- {{.Name}} ({{.ImageName}}): {{.State}}: {{.Error}}
      {{- end -}}
    {{- end -}}
  {{- end -}}
{{- else -}}
  {{range .Entries -}}{{.Message}}{{"\\n"}}{{- end -}}
{{- end -}}
"""


def data(
    *containers: ContainerReport, entries: tuple[LogEntry, ...] = ENTRIES, is_session: bool = True
) -> TemplateData:
    """Return what a template gets."""
    report = Report("s1", "h", containers) if is_session else None
    return TemplateData("Watchtower updates on h", "h", entries, report)


def rendered(name: str, given: TemplateData) -> str:
    """Return what a built-in template makes."""
    return built_in(name).render(given)


def test_default_legacy_is_one_line_for_each_entry() -> None:
    """Each message ends its line."""
    assert "".join(f"{line}\n" for line in LINES) == rendered("default-legacy", data(WEB, DB))


def test_default_names_what_was_updated_and_what_was_not() -> None:
    """The sample session with two containers, one of them updated."""
    expected = (
        "2 Scanned, 1 Updated, 0 Failed\n"
        "- web (nginx:latest): aaaaaaaaaaaa updated to bbbbbbbbbbbb\n"
        "- db (postgres:16): Fresh"
    )
    assert expected == rendered("default", data(WEB, DB))


def test_default_tells_why_something_was_skipped_or_failed() -> None:
    """What could not be checked is not counted as scanned."""
    expected = (
        "2 Scanned, 0 Updated, 1 Failed\n"
        "- db (postgres:16): Fresh\n"
        "- cache (redis:7): Skipped: no answer\n"
        "- queue (rabbitmq:3): Failed: port in use"
    )
    assert expected == rendered("default", data(DB, CACHE, QUEUE))


def test_default_is_silent_when_nothing_was_updated_and_nothing_failed() -> None:
    """Then no message is sent at all."""
    assert rendered("default", data(DB, CACHE)) == ""


def test_default_without_report_is_the_messages() -> None:
    """That is what the program says when it starts."""
    assert "\n".join(LINES) == rendered("default", data(is_session=False))


def test_default_names_versions_and_a_link_where_images_are_labelled() -> None:
    """A version says more than a digest."""
    shop = ContainerReport(
        id="5" * 64, name="shop", image="shop:1", state=State.UPDATED, old_version="1.4", new_version="1.5",
        old_digest="sha256:" + "a" * 64, new_digest="sha256:" + "b" * 64, old_revision="aaa", new_revision="bbb",
        source="https://github.com/example/shop.git",
    )  # fmt: skip
    line = "- shop (shop:1): 1.4 updated to 1.5 (https://github.com/example/shop/compare/aaa...bbb)"
    assert line == rendered("default", data(shop)).splitlines()[1]


def test_porcelain_is_one_line_for_each_container() -> None:
    """Programs read it."""
    expected = (
        "web (nginx:latest): Updated\n"
        "db (postgres:16): Fresh\n"
        "cache (redis:7): Skipped Error: no answer\n"
        "queue (rabbitmq:3): Failed Error: port in use\n"
    )
    assert expected == rendered("porcelain.v1.summary-no-log", data(WEB, DB, CACHE, QUEUE))


def test_porcelain_says_when_there_is_no_container() -> None:
    """Outside of a session it says nothing."""
    assert rendered("porcelain.v1.summary-no-log", data()) == "no containers matched filter"
    assert rendered("porcelain.v1.summary-no-log", data(is_session=False)) == ""


def test_json_has_sorted_keys_short_ids_and_every_category() -> None:
    """Programs read it."""
    text = rendered("json.v1", data(WEB, QUEUE, entries=ENTRIES[:1]))
    found = json.loads(text)
    web = {
        "currentImageId": "a" * 12, "id": "1" * 12, "imageName": "nginx:latest", "latestImageId": "b" * 12,
        "name": "web", "state": "Updated",
    }  # fmt: skip
    assert web == found["report"]["updated"][0]
    assert list(web) == list(found["report"]["updated"][0])
    assert found["report"]["failed"][0]["error"] == "port in use"
    assert {"scanned", "updated", "failed", "skipped", "stale", "fresh", "restarted"} == set(found["report"])
    assert list(found) == ["entries", "host", "report", "title"]
    entry = {"data": {"n": 0}, "level": "info", "message": LINES[0], "time": "2024-01-02T15:04:05Z"}
    assert [entry] == found["entries"]
    assert text.startswith('{\n  "entries": [\n    {\n')


def test_json_outside_of_a_session_has_no_report() -> None:
    """Its place is there and empty."""
    assert json.loads(rendered("json.v1", data(is_session=False)))["report"] is None


def test_json_is_safe_in_a_page() -> None:
    """As Go writes it."""
    entry = LogEntry("a <b> & c", "info", NOW)
    assert "a \\u003cb\\u003e \\u0026 c" in rendered("json.v1", data(entries=(entry,)))


def test_porcelain_json_says_what_has_a_newer_image() -> None:
    """Keys come in this order."""
    found = json.loads(rendered("porcelain.json", data(WEB, CACHE)))["containers"]
    web = {
        "name": "web", "image": "nginx:latest", "image_id": "a" * 12, "latest_image_id": "b" * 12, "state": "Updated",
        "update_available": True,
    }  # fmt: skip
    assert list(web.items()) == list(found[0].items())
    assert (found[1]["update_available"], found[1]["error"]) == (False, "no answer")


@pytest.mark.parametrize("name", sorted(BUILT_IN))
@pytest.mark.parametrize("is_session", [True, False])
def test_built_in_template_works_inside_and_outside_of_a_session(name: str, is_session: bool) -> None:
    """Also with a container in every state."""
    report = sample_report() if is_session else None
    assert isinstance(rendered(name, TemplateData("t", "h", sample_entries(), report)), str)


def test_template_is_chosen_by_name_text_or_mode() -> None:
    """An empty text is the default of the mode."""
    assert read_template("", is_report=True).name == "default"
    assert read_template(" ", is_report=False).name == "default-legacy"
    assert read_template("json.v1", is_report=True).name == "json.v1"
    assert read_template("on {{ host }}", is_report=True).render(data()) == "on h"


def test_jinja_template_reads_versions() -> None:
    """All that a report knows has a name."""
    template = read_template(
        "{% for c in report.updated %}{{ c.name }}: {{ c.old }} → {{ c.new }}{% endfor %}", is_report=True
    )
    assert template.render(data(WEB)) == "web: aaaaaaaaaaaa → bbbbbbbbbbbb"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ok\n{% if %}", "line 2"),
        ("ok\n\n{{ report.renewed }}", "line 3: "),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ host.format.__globals__ }}", "unsafe"),
        ("{{ entries[0].data.update(x=1) }}", "template"),
        ("{% for a in range(10000000) %}x{% endfor %}", "template"),
        ("{% for a in range(90000) %}{{ 'xxxxxxxx' }}{% endfor %}", "KiB"),
        ("{% include 'x' %}", "no loader"),
    ],
)
def test_jinja_template_that_cannot_be_used_is_refused_with_its_line(text: str, reason: str) -> None:
    """It is found when the program starts, and it can reach nothing but its values."""
    with pytest.raises(ValueError, match=r".+") as caught:
        read_template(text, is_report=True)
    assert reason in str(caught.value)


def test_template_that_needs_a_report_is_accepted() -> None:
    """It fails outside of sessions only, where another one takes its place."""
    template = read_template("{{ report.updated | length }}", is_report=True)
    with pytest.raises(ValueError, match="line 1"):
        template.render(data(is_session=False))


@pytest.mark.parametrize(
    "text",
    [
        GO_DEFAULT, "{{range .}}{{.Message}}{{println}}{{end}}", "{{ . | ToJSON }}", "{{- /* note */ -}} x",
        "{{ $n := 1 }}{{ $n }}", "{{if eq .Host \"h\"}}x{{end}}", "{{ len .Entries }}", '{{ "a" | ToUpper }}',
        '{{ define "x" }}y{{ end }}',
    ],
)  # fmt: skip
def test_go_template_is_recognised(text: str) -> None:
    """It is what people have in their compose files."""
    assert is_go_template(text)


@pytest.mark.parametrize(
    "text",
    [
        "plain text", "{{ title }}", "{% for e in entries %}{{ e.message }}{% endfor %}", "{{ host | upper }}",
        "{# note #}{{ report.updated | length }}", "{% raw %}{{ .Name }}{% endraw %}", "{{ index }}", "{{ iffy }}",
    ],
)  # fmt: skip
def test_jinja_template_is_not_taken_for_go(text: str) -> None:
    """It is what people write for us."""
    assert not is_go_template(text)


def test_go_default_template_makes_what_the_built_in_one_makes() -> None:
    """Watchtower's documentation prints it, so it is in many compose files."""
    template = read_template(GO_DEFAULT, is_report=True)
    for containers in ((WEB, DB), (DB, CACHE, QUEUE), (DB,)):
        assert rendered("default", data(*containers)) == template.render(data(*containers))
    assert "".join(f"{line}\n" for line in LINES) == template.render(data(is_session=False))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{{range .Report.Updated}}{{.Name}};{{else}}none{{end}}", "web;"),
        ("{{range .Report.Stale}}{{.Name}};{{else}}none{{end}}", "none"),
        ("{{range $i, $c := .Report.All}}{{if $i}}, {{end}}{{$i}}={{$c.Name}}{{end}}", "0=web, 1=db, 2=queue"),
        ("{{range $c := .Report.All}}{{$c.Name}} on {{$.Host}};{{end}}", "web on h;db on h;queue on h;"),
        ("{{range .Report.All}}{{if eq .Name \"db\"}}{{continue}}{{end}}{{.Name}};{{end}}", "web;queue;"),
        ("{{range .Report.All}}{{.Name}}{{break}}{{end}}", "web"),
        ("{{with .Report}}{{len .Scanned}}{{end}}", "3"),
        ("{{with $r := .Report}}{{len $r.Failed}}{{else}}-{{end}}", "1"),
        ("{{if .Report.Stale}}a{{else if .Report.Failed}}b{{else}}c{{end}}", "b"),
        ("{{with .Report.Stale}}a{{else with .Report.Failed}}{{len .}}{{end}}", "1"),
        ("{{if and .Report (not .Report.Stale)}}yes{{end}}", "yes"),
        ("{{if or .Report.Stale .Report.Fresh}}yes{{end}}", "yes"),
        ("{{if gt (len .Report.All) 2}}many{{end}}", "many"),
        ("{{eq .Host \"x\" \"h\"}} {{ne .Host \"h\"}} {{lt 1 2}} {{ge 1 2}}", "true false true false"),
        ("{{$n := len .Report.All}}{{$n = 7}}{{$n}}", "7"),
        ("{{$s := \"\"}}{{range .Report.All}}{{$s = print $s .Name \",\"}}{{end}}{{$s}}", "web,db,queue,"),
        ("{{$x := 1}}{{if true}}{{$x := 2}}{{$x}}{{end}}{{$x}}", "21"),
        ("{{(index .Report.All 1).Name}} {{index .Report.All 0 | print | len}}", None),
        ("{{.Host | ToUpper | printf \"%s!\"}}", "H!"),
        ("{{printf \"%-5s|%3d|%q|%v|%.1f|%t\" .Host 7 \"a\" 1 2.25 true}}", 'h    |  7|"a"|1|2.2|true'),
        ("{{println \"a\" 1}}{{print 1 2}}", "a 1\n1 2"),
        ("a {{- 1 -}} b {{/* nothing */}}c {{- /* nothing */ -}} d", "a1b cd"),
        ("{\"n\": {{len .Report.All}}}", '{"n": 3}'),
        ("{ {{- .Host}} {{\"{{\"}}", "{h {{"),
        ("100{%x {#x{{if .Host}}h{{end}}", "100{%x {#xh"),
        ("{{`raw \\n`}}{{\"tab\\tu\\u00e9\"}}", "raw \\ntab\tué"),
        ("{{(index .Entries 0).Time.Format \"Jan 2, 2006 at 3:04pm (MST)\"}}", "Jan 2, 2024 at 3:04pm (UTC)"),
        ("{{range .Entries}}{{.Data.n}}{{.Data.absent}};{{end}}", "0;1;2;"),
        ("{{range $k, $v := (index .Entries 1).Data}}{{$k}}={{$v}}{{end}}", "n=1"),
        ("{{range .Report.Failed}}{{.ID.ShortID}} {{.Error}}{{.IsMonitorOnly}}{{end}}", "4" * 12 + " port in usefalse"),
        ("{{(index .Entries 0).Level.String | Title}} {{\"<&\" | html}}", "Info &lt;&amp;"),
    ],
)  # fmt: skip
def test_go_construct_does_what_it_does_in_go(text: str, expected: str | None) -> None:
    """One row for each construct that Watchtower's templates use."""
    found = read_template(text, is_report=True)
    assert found.is_translated
    output = found.render(data(WEB, DB, QUEUE))
    assert output.startswith("db ") if expected is None else expected == output


def test_go_template_without_report_gets_the_list_of_entries() -> None:
    """That is Watchtower's older mode."""
    text = '{{range .}}{{.Time.Format "2006-01-02 15:04:05"}} ({{.Level}}): {{.Message}}{{println}}{{end}}'
    expected = "".join(f"2024-01-02 15:04:05 (info): {line}\n" for line in LINES)
    assert expected == read_template(text, is_report=False).render(data())


def test_translation_can_be_read_and_used_as_jinja() -> None:
    """People can go on with it."""
    source = translate_go_template("{{range .Report.Updated}}{{.Name | ToUpper}}{{end}}", is_report=True)
    assert source == "{% for item1 in report.updated %}{{ item1.name | upper }}{% endfor %}"
    assert read_template(source, is_report=True).render(data(WEB)) == "WEB"


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ('ok\n{{define "x"}}a{{end}}', ("line 2", "{% macro name(item) %}")),
        ('{{template "x" .}}', ("line 1", "{{ name(item) }}")),
        ("a\nb\n{{ .Nonsense }}", ("line 3", ".Nonsense")),
        ("{{ .Host | shout }}", ("line 1", "shout is not known")),
        ("{{range .Entries}}x", ("line 1", "{{range}} has no {{end}}")),
        ("x{{end}}", ("line 1", "closes nothing")),
        ("{{ $x }}", ("line 1", "$x is not declared")),
        ("{{ if (eq .Host 1 }}x{{end}}", ("line 1", "parenthesis")),
        ("{{ .Host", ("line 1", "not closed")),
        ("{{ .Host ~ 1 }}", ("line 1", "cannot be read")),
        ("{{ len .Host .Host }}", ("line 1", "len has 2 arguments")),
        ("{{ .Host | .Report }}", ("line 1", "only a function")),
        ("{{ js .Host }}", ("line 1", "{{ value | tojson }}")),
    ],
)
def test_go_construct_that_is_not_translated_is_refused(text: str, reasons: tuple[str, ...]) -> None:
    """With its line, and with what to write where there is such a thing."""
    with pytest.raises(ValueError, match=r".+") as caught:
        read_template(text, is_report=True)
    assert all(reason in str(caught.value) for reason in reasons), str(caught.value)


def test_report_in_a_template_without_report_mode_names_the_setting() -> None:
    """It is the most likely reason."""
    with pytest.raises(ValueError, match="--notification-report"):
        read_template("{{ .Report }}", is_report=False)


def test_printing_as_go_prints() -> None:
    """Mistakes can be seen in the text."""
    assert go_print(1, 2, "a", 3) == "1 2a3"
    assert go_printf("%d %s", "x") == "%!d(string=x) %!s(MISSING)"
    assert go_printf("a", 1) == "a%!(EXTRA int=1)"
    assert go_printf("%03d %+d %x 50%%", 7, 7, 255) == "007 +7 ff 50%"


def test_times_as_go_writes_them() -> None:
    """The form is the reference time itself."""
    assert rfc1123(NOW) == "Tue, 02 Jan 2024 15:04:05 UTC"
    moment = datetime.fromisoformat("2024-11-09T07:08:09.120000+02:00")
    assert go_time(moment, "06/01/02 3:4:5.99 PM -0700 Z07:00") == "24/11/09 7:8:9.12 AM +0200 +02:00"
