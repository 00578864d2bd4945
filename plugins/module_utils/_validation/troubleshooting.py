# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What to do next: advice for what was found, and for nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from .check import (
    CITATIONS,
    DISTRIBUTION,
    DUPLICATES,
    EMBEDDINGS,
    FAILED,
    FIELD_TYPES,
    LATENCY,
    METADATA_COMPLETENESS,
    NOT_RUN,
    RECORDS,
    SEMANTIC_EQUIVALENCE,
    SPECS,
    WARNING,
    Check,
)
from .decision import GO, MARGINAL, Decision, Totals
from .plain_text import plain
from .thresholds import Thresholds

# Who is asked when, counted from the moment at which the migration stopped.
ESCALATION = (
    ("Level 1, the first 30 minutes", "The operator works through this report."),
    ("Level 2, 30 to 60 minutes", "The database administrator and the operator go through the logs together: the audit log and the logs of both servers."),
    ("Level 3, after 60 minutes", "The engineering team takes over; hand them the JSON report, which names affected records by id, collection by collection."),
    ("Level 4, critical at any time", "Page the engineer on call, and roll back: users see wrong or missing answers."),
)


@dataclass(frozen=True)
class Findings:
    """What the entries are chosen by."""

    checks: Mapping[str, Check]
    decision: Decision
    totals: Totals
    thresholds: Thresholds
    warnings: Sequence[str] = ()

    def wrong(self, name: str) -> bool:
        """Whether the check found something."""
        check = self.checks.get(name)
        return check is not None and check.status in (FAILED, WARNING)

    def detail(self, name: str, key: str) -> Any:
        check = self.checks.get(name)
        return None if check is None else check.details.get(key)


@dataclass(frozen=True)
class Entry:
    """A piece of advice: what was found, what it usually comes from, and what to do, step by step."""

    key: str
    title: str
    cause: str
    steps: tuple[str, ...]
    fits: Callable[[Findings], bool]


def _kinds(findings: Findings, *names: str) -> bool:
    rows = findings.detail(RECORDS, "collections") or []
    return any(row.get(name) or row.get("changed_fields", {}).get(name) for row in rows for name in names)


def _missing_collection(findings: Findings) -> bool:
    return any(row.get("setting") == "collection" for row in findings.detail(SPECS, "differences") or [])


def _specs_differ(findings: Findings) -> bool:
    return any(row.get("setting") != "collection" for row in findings.detail(SPECS, "differences") or [])


def _index_lags(findings: Findings) -> bool:
    recall = findings.detail(SEMANTIC_EQUIVALENCE, "recall_at_10") or {}
    source, target = recall.get("source"), recall.get("target")
    return target is not None and target < (1.0 if source is None else source) - 0.1


ENTRIES = (
    Entry(
        "marginal",
        "Decide by hand",
        "Nothing is lost or damaged, but not everything is as it should be.",
        (
            "Read the reasons at the top.",
            "The operations lead decides; with the approvals the cutover can go on, otherwise fix the points above and validate again.",
        ),
        lambda found: found.decision.decision == MARGINAL,
    ),
    Entry(
        "go",
        "Go on with the cutover",
        "Everything that was checked is as it should be.",
        (
            "Collect the approvals of cutover_required_approvals (operations, dba, security, engineering, on_call) in chromadb_approvals.",
            "Run: ansible-playbook infrafabric.chromadb.cutover -i INVENTORY",
            "Keep the snapshots until the retention time has passed.",
        ),
        lambda found: found.decision.decision == GO,
    ),
    Entry(
        "roll_back",
        "Roll the target back",
        "The data in the target, or what of it was expected, is not as it should be; the reasons say which.",
        (
            "If the playbooks run with chromadb_auto_rollback, the rollback has been started; look for its entry in the audit log.",
            "Otherwise run: ansible-playbook infrafabric.chromadb.rollback -i INVENTORY",
            "Clients still use the source as long as the cutover has not run: nothing is urgent for them.",
        ),
        lambda found: found.decision.rollback_required,
    ),
    Entry(
        "source_short",
        "The source holds less than expected",
        "The figures in expected_counts are not those of the source, or records were lost before the migration.",
        (
            "Compare expected_counts with what infrafabric.chromadb.server_info returns for the source.",
            "If the source has lost records, restore it from its last good snapshot before migrating.",
            "Check tenant and database of the source: an empty default database looks like lost data.",
        ),
        lambda found: found.totals.missing > 0,
    ),
    Entry(
        "missing_collection",
        "A collection is not in the target",
        "The migration did not reach it, or somebody deleted or renamed it.",
        (
            "Run the migration again: it creates what is not there and copies only the difference.",
            "If it happens again, look for other writers in the target's log.",
        ),
        _missing_collection,
    ),
    Entry(
        "lost",
        "Records are not in the target",
        "The migration stopped half-way, or they were deleted afterwards.",
        (
            "Run the migration again with the same options: it sends only what is not there.",
            "Validate again.",
            "If ids named in this report are still missing, read them from the source by id.",
        ),
        lambda found: _kinds(found, "lost"),
    ),
    Entry(
        "extra",
        "Records in the target that the source does not have",
        "They were deleted in the source since the last migration, or an application writes to the target already.",
        ("Freeze writers of the target.", "Run the migration with prune: true, which deletes only records of this migration."),
        lambda found: _kinds(found, "extra"),
    ),
    Entry(
        "foreign",
        "Records of somebody else in the target",
        "The target collections were not empty before the migration.",
        (
            "Look at the ids named under records: do they belong there?",
            "If they do not, roll the target back to its snapshot and migrate into other collections, by routes.",
        ),
        lambda found: _kinds(found, "foreign"),
    ),
    Entry(
        "documents",
        "Documents or metadata differ",
        "The source was written to after the migration, or something wrote to the target.",
        (
            "Freeze writers of the source and run the migration again; it catches up in seconds.",
            "If the same ids differ again, the target has another writer: find it in its log.",
        ),
        lambda found: _kinds(found, "document", "uri", "metadata"),
    ),
    Entry(
        "embeddings",
        "Vectors are missing or differ",
        "Vectors were made anew by another model, were lost by the server, or were damaged on the way.",
        (
            "See whether the affected ids have sound vectors in the source; releases 0.5.5 to 0.5.12 of Chroma could lose vectors.",
            "If the source is sound, run the migration again; changed vectors are sent again.",
            "If the source is not, embed the documents again with the model that the collection names.",
        ),
        lambda found: found.wrong(EMBEDDINGS),
    ),
    Entry(
        "invalid",
        "Records that the schema refuses",
        "Their metadata lacks a required field or holds a value that the schema does not allow.",
        (
            "Look at the reasons in the section on invalid records, or in the quarantine file of the migration.",
            "Give the right values in chromadb_corrections (by source collection and id), or give the field a default.",
            "Run the migration and this validation again.",
        ),
        lambda found: found.totals.invalid > 0,
    ),
    Entry(
        "metadata",
        "Required metadata is missing in the target",
        "The records were written by something other than this migration, or with another schema.",
        ("Make sure that validation and migration use the same schema.", "Run the migration again; it restores the fields."),
        lambda found: found.wrong(METADATA_COMPLETENESS),
    ),
    Entry(
        "types",
        "Values of the wrong type, or in the wrong form",
        "A writer stored 1 for true, text for numbers, or citations in another form.",
        ("Look at the examples of the checks field_types and citations.", "Correct them in the source, or by chromadb_corrections, and migrate again."),
        lambda found: found.wrong(FIELD_TYPES) or found.wrong(CITATIONS),
    ),
    Entry(
        "distribution",
        "Records in the collection of another type",
        "Routes and schema do not agree, or a record's collection_type was changed.",
        ("Compare the routes with the collection_type of the examples.", "Correct the one or the other, and migrate again with prune: true."),
        lambda found: found.wrong(DISTRIBUTION),
    ),
    Entry(
        "duplicates",
        "The same id more than once",
        "Old servers store an id twice when it comes twice in one request.",
        ("Decide which of the two records is right.", "Delete the id in the target, and migrate again."),
        lambda found: found.wrong(DUPLICATES),
    ),
    Entry(
        "specs",
        "A collection with other settings",
        "It was created by a client before the migration, with other defaults.",
        (
            "If the distance differs, no change in place is possible: delete the target collection, after a snapshot, and migrate again.",
            "Other settings (ef_search, batch sizes, the embedding function, the collection's metadata) are mended by running the migration again; it refuses,"
            " and names it, what Chroma cannot change in a collection that exists, such as ef_construction and max_neighbors.",
        ),
        _specs_differ,
    ),
    Entry(
        "search",
        "Searches find other records",
        "The data differs (see the other entries), or the target's index is damaged.",
        (
            "Mend the data first; most divergence goes with it.",
            "If all records are equal and searches still differ, see the entry about the index, or rebuild the collection.",
        ),
        lambda found: found.wrong(SEMANTIC_EQUIVALENCE),
    ),
    Entry(
        "index",
        "The target's index finds less than the source's",
        "The records are there; the index over them is less exact, as it is when collections merge into a larger one.",
        (
            "If the target is to find more than before, raise ef_search of the collection on both sides, since the validation compares it.",
            "If that does not help, delete the target collection, after a snapshot, and migrate again, which builds the index anew.",
        ),
        _index_lags,
    ),
    Entry(
        "documents_index",
        "The target's index of documents misses records",
        "The documents are there; the server's own index for searches by their words (where_document) does not know them, as after an interrupted upgrade.",
        (
            "Delete the target collection, after a snapshot, and migrate again, which builds the index anew.",
            "If the directory was copied or upgraded in place, copy it again from a stopped server and look for errors in the server's log.",
        ),
        lambda found: bool(found.detail(SEMANTIC_EQUIVALENCE, "text_searches_missed")),
    ),
    Entry(
        "latency",
        "Searches are slow",
        "The target's host is busy or short of memory, or the network between is slow.",
        (
            "Look at load and memory of the target's host; the vectors should fit into memory.",
            "Measure again when no migration or snapshot runs.",
            "Set max_latency_ms to what the clients need.",
        ),
        lambda found: found.wrong(LATENCY),
    ),
    Entry(
        "moving",
        "The source was written to while it was read",
        "Its writers are not frozen.",
        ("That is expected before the cutover: catch up by migrating again.", "For a final proof, freeze the writers first."),
        lambda found: bool(found.warnings),
    ),
    Entry(
        "not_run",
        "A check could not be run",
        "A server did not answer a search, or there was nothing to look at.",
        (
            "Look at the reason given for the check.",
            "Make sure that the URL, tenant and database name the intended data.",
            "Validate again: what was not checked blocks the decision.",
        ),
        lambda found: any(check.status == NOT_RUN for check in found.checks.values()),
    ),
)


def fitting_entries(findings: Findings) -> list[dict[str, Any]]:
    """The entries that fit, the most urgent first, as plain values."""
    return [{"key": e.key, "title": e.title, "cause": e.cause, "steps": list(e.steps)} for e in ENTRIES if e.fits(findings)]


def troubleshooting_text(report: Mapping[str, Any]) -> str:
    """The entries of a report as a text file, with whom to ask when."""
    lines = [
        "What to do next",
        "===============",
        "",
        f"Validation of {report['created']}: {report['decision'].upper()}",
        f"Source: {plain(report['source']['database'])}",
        f"Target: {plain(report['target']['database'])}",
        "",
    ]
    for number, entry in enumerate(report["troubleshooting"], 1):
        lines += [f"{number}. {entry['title']}", f"   {entry['cause']}"]
        lines += [f"   - {step}" for step in entry["steps"]]
        lines.append("")
    if report["decision"] != GO:
        lines += ["Whom to ask", "-----------"]
        lines += [f"{level}: {what}" for level, what in ESCALATION]
        lines.append("")
    return "\n".join(lines)
