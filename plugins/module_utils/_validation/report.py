# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Write the report in all its forms, each file whole or not at all, readable by its owner alone."""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Mapping
from typing import Any

from .._errors import DiskError
from .._files import atomic_write, disk_errors
from .report_data import ReportData, build_report
from .report_html import render_html
from .report_junit import render_junit
from .report_markdown import render_markdown
from .troubleshooting import Findings, fitting_entries, troubleshooting_text

TROUBLESHOOTING = "troubleshooting_report.txt"


def check_report_directory(directory: str, check_mode: bool = False) -> list[str]:
    """DiskError unless files can be written there: known before the long work, not after it. Warnings of what is no reason to stop.

    In check mode a directory may be missing: what creates it, such as the role, did not do so now.
    """
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise DiskError(f"The report directory {directory} is not a directory. Name another one in report_directory.", path=directory)
    if not os.path.isdir(directory):
        if check_mode:
            return [f"The report directory {directory} does not exist. A run fails unless something creates it first, as the role validate does."]
        raise DiskError(f"The report directory {directory} does not exist. Create it, or name another one in report_directory.", path=directory)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise DiskError(f"The report directory {directory} cannot be written by this user. Change its owner or mode, or name another one.", path=directory)
    with disk_errors(directory, "look at"):
        problem = _problem_of_others(os.lstat(directory), os.stat(directory))
    return [] if problem is None else [f"The report directory {directory} {problem} Until then, others can replace or remove the reports there."]


def _problem_of_others(link: os.stat_result, status: os.stat_result) -> str | None:
    """Who else could replace the reports. Not a reason to refuse, as it is for snapshots: people write reports into places that they share."""
    trusted = {0, os.geteuid()}
    if os.geteuid() == 0 and os.environ.get("SUDO_UID", "").isdecimal():
        trusted.add(int(os.environ["SUDO_UID"]))  # whoever became root here, as Ansible's user does, could change everything
    if stat.S_ISLNK(link.st_mode) and link.st_uid not in trusted:
        return f"is a link of another user (uid {link.st_uid}). Name the directory itself in report_directory."
    if status.st_uid not in trusted:
        return f"belongs to another user (uid {status.st_uid}, this is {os.geteuid()}). Change the owner with chown, or name another one in report_directory."
    # Where the sticky bit is set, as on /tmp, nobody can replace files of others.
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not status.st_mode & stat.S_ISVTX:
        return f"can be changed by others (mode {stat.S_IMODE(status.st_mode):04o}). Take that right away with chmod go-w, or set the sticky bit with chmod +t."
    return None


def report_of(data: ReportData) -> dict[str, Any]:
    """The report as plain data, advice included."""
    findings = Findings({check.name: check for check in data.checks}, data.decision, data.totals, data.thresholds, data.warnings)
    return build_report(data, fitting_entries(findings))


def write_report(directory: str, report: Mapping[str, Any]) -> dict[str, str]:
    """Write all forms; the paths by form (json, markdown, html, junit)."""
    name = _free_name(directory)
    forms = {
        "json": (".json", json.dumps(report, indent=2, allow_nan=False)),
        "markdown": (".md", render_markdown(report)),
        "html": (".html", render_html(report)),
        "junit": (".xml", render_junit(report)),
    }
    paths = {}
    for form, (suffix, content) in forms.items():
        paths[form] = os.path.join(directory, name + suffix)
        atomic_write(paths[form], content.encode("utf-8", "backslashreplace"))
    # Always the newest one, under the name that the escalation plan tells people to look for.
    atomic_write(os.path.join(directory, TROUBLESHOOTING), troubleshooting_text(report).encode("utf-8", "backslashreplace"))
    return paths


def _free_name(directory: str) -> str:
    base = time.strftime("validation_%Y%m%d_%H%M%S", time.gmtime())
    name, number = base, 1
    while os.path.exists(os.path.join(directory, f"{name}.json")):
        number += 1
        name = f"{base}_{number}"
    return name
