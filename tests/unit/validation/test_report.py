# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report in all its forms: complete, true to its schema, and unharmed by whatever stands in the data."""

from __future__ import annotations

import json
import os
import re
import stat
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import fastjsonschema
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DiskError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.census import Census
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.check import CHECKS, shortened
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.checks_records import check_records
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.plain_text import code_for_markdown, plain
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.report import check_report_directory, write_report
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.report_html import render_html
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.report_junit import render_junit
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.report_markdown import render_markdown
from ansible_collections.infrafabric.chromadb.plugins.module_utils._validation.troubleshooting import troubleshooting_text
from tests.support.rights import NOBODY, directory_without_the_rights_of_root, without_the_rights_of_root

SCHEMA = Path(__file__).resolve().parents[3] / "docs/report.schema.json"
SAMPLE = {"size": 20, "seed": 1, "compared": 20, "of": 1000, "differing": 0, "confidence_percent": 95, "may_differ_percent": 15.0}
VOID = {"meta", "br", "img", "input", "link"}
KNOWN = {
    "html", "head", "meta", "title", "style", "body", "main", "header", "footer", "section", "article", "h1", "h2", "h3",
    "p", "ul", "ol", "li", "dl", "dt", "dd",
    "div", "span", "small", "strong", "code", "i", "br", "details", "summary", "table", "tr", "th", "td", "svg", "rect", "line",
}


class Page(HTMLParser):
    """What a browser would make of the page: its elements, and whether they are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.open, self.faults, self.text = [], [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes.extend(attrs)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(params=["good", "damaged", "sampled"])
def report(request, make_report):
    return make_report(damaged=request.param == "damaged", sample=SAMPLE if request.param == "sampled" else None)


def test_json_keeps_to_its_schema(report):
    plainly = json.loads(json.dumps(report, allow_nan=False))
    fastjsonschema.compile(json.loads(SCHEMA.read_text()))(plainly)
    assert [check["name"] for check in plainly["checks"]] == list(CHECKS)


def test_an_example_of_each_of_many_collections_keeps_to_the_schema(make_report, comparison, side):
    report = make_report(damaged=True)
    census = Census()
    for number in range(60):
        comparison(census, target=f"things_{number}").show(side(3), side(3).without(1))
    check = check_records(census).as_dict()
    assert len({case["collection"] for case in check["details"]["examples"]}) == 60
    report["checks"][CHECKS.index("records")] = check
    fastjsonschema.compile(json.loads(SCHEMA.read_text()))(report)


def test_good_is_go_and_damaged_is_not(make_report):
    assert (make_report()["decision"], make_report()["reasons"]) == ("go", [])
    damaged = make_report(damaged=True)
    assert (damaged["decision"], damaged["rollback_required"]) == ("no_go", True)
    assert {"counts", "embeddings", "metadata_completeness", "records", "specs"} <= {c["name"] for c in damaged["checks"] if c["status"] == "failed"}


def test_page_is_sound_and_asks_for_nothing(report):
    html = render_html(report)
    page = Page(html)
    assert set(page.tags) <= KNOWN
    names = {name for name, _value in page.attributes}
    assert not [name for name in names if name.startswith("on") or name in ("src", "href", "srcset", "action", "style", "data")]
    policy = next(value for name, value in page.attributes if name == "content" and "default-src" in value)
    assert policy.startswith("default-src 'none'")
    assert not re.search(r"url\(|@import|http-equiv=\"refresh", html)
    assert html.index("</h1>") < html.index("<section")


def test_hostile_text_stays_text(make_report, hostile):
    html = render_html(make_report(damaged=True))
    shown = "".join(Page(html).text)
    for text in hostile[:2]:
        assert text not in html
        assert text in shown
    assert "\u202e" not in html
    assert "\\u202e" in shown
    assert "\x00" not in html + render_markdown(make_report(damaged=True)) + render_junit(make_report(damaged=True))
    assert "x" * 1000 not in html
    html.encode("utf-8")


def test_an_id_is_whole_in_json_and_told_by_its_length_elsewhere(make_report):
    report = make_report(damaged=True)
    changed = next(check for check in report["checks"] if check["name"] == "records")["details"]["changed"]
    assert "x" * 5000 in {case["id"] for case in changed}
    assert "x" * 5000 in {case["id"] for case in report["invalid"]}
    for shown in (render_html(report), render_markdown(report), render_junit(report)):
        assert "x" * 1001 not in shown
    assert f"{'x' * 200}... (5,000 characters)" in render_html(report)
    assert f"{'x' * 200}... (5,000 characters)" in render_markdown(report)


def test_a_text_that_is_cut_twice_keeps_its_length():
    assert plain(shortened("x" * 5000)) == f"{'x' * 200}... (5,000 characters)"


def test_markdown_cannot_be_led_astray(make_report):
    markdown = render_markdown(make_report(damaged=True))
    assert not re.search(r"(?<!`)<(script|img|b)\b", re.sub(r"(`+)[^`].*?\1", "", markdown).replace("\\<", ""))
    tables = [line for line in markdown.splitlines() if line.startswith("|")]
    widths = [len(re.findall(r"(?<!\\)\|", line)) for line in tables]
    assert set(widths) <= {3, 6, 9}
    assert "NO-GO" in markdown.splitlines()[0]


@pytest.mark.parametrize("text", ["`", "``a`", "a|b", " ", "x`"])
def test_code_in_markdown_is_fenced_by_more_than_it_holds(text):
    fenced = code_for_markdown(text)
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    assert fenced.startswith("`" * (longest + 1))
    assert fenced.endswith("`" * (longest + 1))


def test_junit_has_one_case_a_check(report):
    root = ElementTree.fromstring(render_junit(report))
    cases = root.findall("testsuite/testcase")
    assert [case.get("name") for case in cases] == list(CHECKS)
    failed = [case.get("name") for case in cases if case.find("failure") is not None]
    assert failed == [check["name"] for check in report["checks"] if check["status"] == "failed"]
    assert int(root.get("failures")) == len(failed)


def test_what_was_not_run_is_an_error_in_junit(make_report):
    report = make_report()
    report["checks"][0]["status"] = "not_run"
    report["checks"][1]["status"] = "not_applicable"
    root = ElementTree.fromstring(render_junit(report))
    assert (root.get("errors"), root.get("skipped"), root.get("tests")) == ("1", "1", "11")


def test_only_the_advice_that_fits(make_report):
    good, damaged = make_report(), make_report(damaged=True)
    assert [entry["key"] for entry in good["troubleshooting"]] == ["go"]
    keys = [entry["key"] for entry in damaged["troubleshooting"]]
    assert keys[0] == "roll_back"
    assert {"lost", "extra", "documents", "embeddings", "invalid", "metadata", "specs", "moving"} <= set(keys)
    assert not {"go", "marginal", "not_run", "latency", "missing_collection", "duplicates"} & set(keys)


def test_the_text_for_people_on_call(make_report):
    text = troubleshooting_text(make_report(damaged=True))
    assert "Roll the target back" in text
    assert "Level 4" in text
    assert "\x1b" not in text
    assert "<script>" not in text.split("Target:", maxsplit=1)[0]
    assert "Level" not in troubleshooting_text(make_report())


def test_files_are_whole_private_and_named_by_time(make_report, tmp_path):
    first = write_report(str(tmp_path), make_report())
    second = write_report(str(tmp_path), make_report(damaged=True))
    assert set(first) == {"json", "markdown", "html", "junit"}
    assert not set(first.values()) & set(second.values())
    files = sorted(path.name for path in tmp_path.iterdir())
    assert len(files) == 9
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size > 100
    assert re.fullmatch(r"validation_\d{8}_\d{6}\.json", Path(first["json"]).name)
    assert json.loads(Path(second["json"]).read_text())["decision"] == "no_go"
    assert "NO_GO" in (tmp_path / "troubleshooting_report.txt").read_text()


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DiskError, match="nowhere"):
        check_report_directory(str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="file"):
        check_report_directory(str(tmp_path / "file"))


def test_in_check_mode_a_directory_may_be_missing_and_nothing_else(tmp_path):
    (warning,) = check_report_directory(str(tmp_path / "nowhere"), check_mode=True)
    assert f"The report directory {tmp_path / 'nowhere'} does not exist" in warning
    (tmp_path / "file").write_text("")
    with pytest.raises(DiskError, match="is not a directory"):
        check_report_directory(str(tmp_path / "file"), check_mode=True)


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        (0o700, None),
        (0o755, None),
        (0o1777, None),  # as /tmp: nobody can replace files of others there
        (0o1770, None),
        (0o777, "can be changed by others (mode 0777). Take that right away with chmod go-w"),
        (0o2775, "can be changed by others (mode 2775)"),
    ],
)
def test_a_directory_that_others_can_change_is_a_warning(tmp_path, mode, words):
    directory = tmp_path / "reports"
    directory.mkdir()
    directory.chmod(mode)
    warnings = check_report_directory(str(directory))
    assert len(warnings) == (words is not None)
    assert all(f"The report directory {directory} {words}" in warning and "replace or remove the reports" in warning for warning in warnings)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_a_directory_of_somebody_else_is_a_warning(tmp_path, monkeypatch):
    monkeypatch.delenv("SUDO_UID", raising=False)
    theirs, mine = tmp_path / "theirs", tmp_path / "mine"
    for directory in (theirs, mine):
        directory.mkdir()
    os.chown(theirs, NOBODY, -1)
    # Also where the sticky bit is set: it keeps everybody from the files of others, except whom the directory belongs to.
    theirs.chmod(0o1777)
    (warning,) = check_report_directory(str(theirs))
    assert f"{theirs} belongs to another user (uid {NOBODY}, this is 0). Change the owner with chown" in warning
    link = tmp_path / "link"
    link.symlink_to(mine)
    assert check_report_directory(str(link)) == [], "where an own link leads is what counts"
    os.chown(link, NOBODY, -1, follow_symlinks=False)
    assert "is a link of another user (uid 65534). Name the directory itself" in check_report_directory(str(link))[0]
    # Of whoever became root by sudo: as Ansible's user does, in whose home directory reports may go.
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    assert check_report_directory(str(theirs)) == check_report_directory(str(link)) == []


def test_text_is_made_visible():
    assert plain("a\nb\x1b\u202e\u2028é漢😀") == "a\\x0ab\\x1b\\u202e\\u2028é漢😀"
    assert plain("x" * 300).endswith("... (300 characters)")


def test_junit_says_when_only_a_sample_was_compared(make_report):
    named = 'name="sample_may_differ_percent" value="'
    assert named in render_junit(make_report(sample=SAMPLE))
    assert named not in render_junit(make_report())


def test_a_sample_that_is_all_right_is_no_word_about_all_records(make_report):
    report = make_report(sample={**SAMPLE, "of": 20})
    assert report["decision"] == "go"
    shown = "".join(Page(render_html(report)).text)
    assert "The sample of records is in the target as it should be" in shown
    assert "All 20 records are in the target as they should be, and every check passed" not in shown
    assert "Only a sample was looked at: 20 of 20 records (seed 1)" in render_markdown(report)
    assert "Only a sample" not in render_markdown(make_report())


@pytest.mark.parametrize(("emptied", "headings"), [
    ({"source_collections": [], "target_collections": []}, {"Collections"}),
    ({"queries": []}, {"Searches"}),
    ({"vector_errors": []}, {"Vector error"}),
    ({"latency_ms": []}, {"Search latency"}),
    ({"vector_errors": [], "latency_ms": []}, {"Vector error", "Search latency"}),
    ({"timeline": []}, {"Timeline"}),
], ids=["collections", "searches", "vectors", "latency", "distributions", "timeline"])
def test_the_page_has_no_section_about_nothing(make_report, emptied, headings):
    """Such as of two servers that are empty."""
    whole, less = (set(re.findall("<h2>([^<]*)</h2>", render_html(report))) for report in (make_report(), {**make_report(), **emptied}))
    assert whole - less == headings
    Page(render_html({**make_report(), **emptied}))


def test_markdown_has_no_table_of_nothing(make_report):
    report = {**make_report(), "source_collections": []}
    rows = [line for line in render_markdown(make_report()).splitlines() if line.startswith("|")]
    assert len([line for line in render_markdown(report).splitlines() if line.startswith("|")]) == len(rows) - 3


def test_a_collection_that_the_target_lacks_is_said_to(make_report):
    report = make_report(damaged=True)
    report["target_collections"][0]["count"] = None
    assert "<strong>not in the target</strong>" in render_html(report)
    assert "not in the target</strong>" not in render_html(make_report(damaged=True))


def test_a_search_that_failed_is_drawn_as_high_as_can_be(make_report):
    report = make_report()
    report["queries"][1]["error"] = "the server said 500"
    columns = re.search('<svg class="columns".*?</svg>', render_html(report))[0]
    drawn = re.findall(r'<rect class="(\w+)" [^>]*height="([\d.]+)"><title>', columns)
    assert drawn == [("ok", "3.0"), ("bad", "120.0"), ("ok", "3.0")]


def test_a_reason_without_the_name_of_a_check_is_shown_as_it_is(make_report):
    report = make_report(damaged=True)
    report["reasons"] = ["something <b>else</b>", "records: 3 are lost", f"{'long ' * 10}name: words"]
    items = re.findall("<li>(.*?)</li>", re.search('<ul class="reasons">(.*?)</ul>', render_html(report))[1])
    assert items == ["something &lt;b&gt;else&lt;/b&gt;", "<strong>Records:</strong> 3 are lost", f"{'long ' * 10}name: words"]


def test_a_report_directory_that_this_user_cannot_write_is_named():
    with directory_without_the_rights_of_root() as directory, without_the_rights_of_root():
        check_report_directory(str(directory))
        directory.chmod(0o500)
        with pytest.raises(DiskError, match=f"{directory} cannot be written by this user"):
            check_report_directory(str(directory))
