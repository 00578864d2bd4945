# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The modules' documentation, their argument specs, and the operations that they call say the same."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.infrafabric.chromadb.plugins.module_utils import _argument_spec

COLLECTION = "ansible_collections.infrafabric.chromadb.plugins"
PUBLIC = {"audit_info", "migrate", "monitor_info", "rollback", "server_info", "snapshot", "snapshot_info", "snapshot_prune", "source_changes_info", "validate"}
MODULES = sorted(path.stem for path in (Path(_argument_spec.__file__).parents[1] / "modules").glob("*.py") if path.stem != "__init__")
FRAGMENTS = ("endpoint", "endpoints", "store", "transformation", "progress")
COMPARED = ("type", "elements", "choices", "default")

# The defaults that the public interface promises.
DEFAULTS: dict[str, dict[str, Any]] = {
    "audit_info": {"directory": "/var/lib/chromadb/snapshots"},
    "migrate": {
        "state_directory": "/var/lib/chromadb/state", "prune": False, "on_collision": "fail", "on_invalid": "fail", "min_valid_ratio": 0.95,
        "schema": None, "routes": None, "deadline": None,
    },
    "monitor_info": {
        "duration": 0, "interval": 60, "max_latency_ms": 500, "min_queries_per_second": 10, "max_lost_records": 0, "max_new_records": None,
        "log_files": None, "textfile": None,
    },
    "rollback": {"directory": "/var/lib/chromadb/snapshots", "strategy": "auto", "safety_snapshot": True, "discard_new_writes": False, "trigger": "manual"},
    "server_info": {"url": "http://localhost:8000", "token_header": "authorization", "validate_certs": True, "expected_counts": None},
    "snapshot": {
        "state": "present", "method": "records", "directory": "/var/lib/chromadb/snapshots", "retention_days": 7, "prune": True,
        "keep_min": 1, "pin": [], "verify": True, "name": None,
    },
    "snapshot_info": {"directory": "/var/lib/chromadb/snapshots", "snapshot_id": None},
    "snapshot_prune": {"directory": "/var/lib/chromadb/snapshots", "retention_days": None, "keep_min": 1, "keep_max": None, "pin": []},
    "source_changes_info": {"since": None, "tenant": "default_tenant", "database": "default_database"},
    "validate": {
        "thresholds": {
            "min_valid_ratio": 0.95, "max_data_loss_percent": 5, "max_lost_records": 100, "max_missing_embeddings_percent": 5,
            "warn_divergence_percent": 10, "max_divergence_percent": 20, "max_query_divergence_percent": 30, "max_latency_ms": 500,
            "min_queries_per_second": 10, "max_mean_difference": 0.01, "max_type_mismatch_percent": 5, "max_invalid_citation_percent": 10,
        },
        "queries": None, "report_directory": None, "sample": None,
    },
}  # fmt: skip
REQUIRED: dict[str, dict[str, Any]] = {
    "migrate": {"source": {"url": "http://192.0.2.10:8000"}, "target": {"url": "http://192.0.2.20:8000"}},
    "validate": {"source": {"url": "http://192.0.2.10:8000"}, "target": {"url": "http://192.0.2.20:8000"}},
    "rollback": {"snapshot_id": "latest"},
    "audit_event": {"action": "approval"},
    "source_changes_info": {"data_directory": "/var/lib/chromadb/data"},
}


class Call:
    """What a module's main() gave to AnsibleModule, and the operation that it would have called."""

    def __init__(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.module = importlib.import_module(f"{COLLECTION}.modules.{name}")
        monkeypatch.setattr(self.module, "run_module", self._remember)
        self.module.main()
        self.documentation = merged_documentation(yaml.safe_load(self.module.DOCUMENTATION))

    def _remember(self, operation: Callable[..., Any], argument_spec: dict[str, Any], **rules: Any) -> None:
        self.operation, self.spec, self.rules = operation, argument_spec, rules


def fragment_options(name: str) -> dict[str, Any]:
    fragment = importlib.import_module(f"{COLLECTION}.doc_fragments.{name}").ModuleDocFragment
    options: dict[str, Any] = yaml.safe_load(fragment.DOCUMENTATION)["options"]
    return options


def merged_documentation(documentation: dict[str, Any]) -> dict[str, Any]:
    options = dict(documentation.get("options", {}))
    for name in documentation["extends_documentation_fragment"]:
        parts = name.split(".")
        assert parts[:2] == ["infrafabric", "chromadb"]
        if len(parts) == 3:
            options.update(fragment_options(parts[2]))
    return {**documentation, "options": options}


def contradictions(options: dict[str, Any], spec: dict[str, Any], where: str = "") -> Iterator[str]:
    """What documentation and argument spec say differently, at any depth."""
    for name in sorted(set(options) ^ set(spec)):
        yield f"{where}{name} is only in the {'documentation' if name in options else 'argument spec'}"
    for name in sorted(set(options) & set(spec)):
        documented, specified = options[name], spec[name]
        for key in COMPARED:
            if documented.get(key) != specified.get(key):
                yield f"{where}{name}: {key} is documented as {documented.get(key)!r}, and is {specified.get(key)!r}"
        if bool(documented.get("required")) != bool(specified.get("required")):
            yield f"{where}{name}: required differs"
        if not documented.get("description"):
            yield f"{where}{name} has no description"
        yield from contradictions(documented.get("suboptions", {}), specified.get("options", {}), f"{where}{name}.")


@pytest.mark.parametrize("name", MODULES)
def test_documentation_is_the_argument_spec(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(name, monkeypatch)
    assert list(contradictions(call.documentation["options"], call.spec)) == []


@pytest.mark.parametrize("name", FRAGMENTS)
def test_fragment_is_the_spec_of_the_same_name(name: str) -> None:
    assert list(contradictions(fragment_options(name), getattr(_argument_spec, name)())) == []


@pytest.mark.parametrize(("documented", "specified"), [
    ({"a": {"type": "str", "description": "x"}}, {}),
    ({}, {"a": {"type": "str"}}),
    ({"a": {"type": "int", "description": "x"}}, {"a": {"type": "str"}}),
    ({"a": {"type": "int", "default": 1, "description": "x"}}, {"a": {"type": "int", "default": 2}}),
    ({"a": {"type": "str", "required": True, "description": "x"}}, {"a": {"type": "str"}}),
    ({"a": {"type": "str"}}, {"a": {"type": "str"}}),
    ({"a": {"description": "x", "suboptions": {"b": {"type": "int", "description": "x"}}}}, {"a": {"options": {"b": {"type": "str"}}}}),
])
def test_a_contradiction_is_found(documented: dict[str, Any], specified: dict[str, Any]) -> None:
    assert len(list(contradictions(documented, specified))) == 1


@pytest.mark.parametrize("name", MODULES)
def test_operation_takes_exactly_the_options(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(name, monkeypatch)
    options = set(call.spec) - {"progress_file"}
    if "source" in options:
        servers, options = ["source", "target"], options - {"source", "target"}
    elif "url" in options:
        servers, options = ["endpoint"], options - set(_argument_spec.endpoint())
    else:
        servers = []
    parameters = inspect.signature(call.operation).parameters
    assert [each for each, parameter in parameters.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD] == servers
    assert {each for each, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY} == options | {"context"}
    assert call.operation.__name__ == name


@pytest.mark.parametrize("name", MODULES)
def test_defaults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("CHROMADB_URL", "SNAPSHOT_DIR"):
        monkeypatch.delenv(variable, raising=False)
    validated = ArgumentSpecValidator(Call(name, monkeypatch).spec).validate(REQUIRED.get(name, {}))
    assert validated.error_messages == []
    assert {option: validated.validated_parameters[option] for option in DEFAULTS.get(name, {})} == DEFAULTS.get(name, {})


@pytest.mark.parametrize("name", MODULES)
def test_environment_of_the_host_comes_before_defaults(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMADB_URL", "http://192.0.2.30:8000")
    monkeypatch.setenv("SNAPSHOT_DIR", "/srv/snapshots")
    parameters = ArgumentSpecValidator(Call(name, monkeypatch).spec).validate(REQUIRED.get(name, {})).validated_parameters
    assert parameters.get("url", "http://192.0.2.30:8000") == "http://192.0.2.30:8000"
    assert parameters.get("directory", "/srv/snapshots") == "/srv/snapshots"


def secrets_in(spec: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, option in spec.items():
        yield name, option.get("no_log")
        yield from secrets_in(option.get("options", {}))


@pytest.mark.parametrize("name", MODULES)
def test_secrets_are_not_logged(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hidden = dict(secrets_in(Call(name, monkeypatch).spec))
    for option in {"token", "password", "headers"} & set(hidden):
        assert hidden[option] is True
    # Ansible warns of options with such names unless they say what they are.
    for option in {"token_header", "client_key", "encryption_key_file"} & set(hidden):
        assert hidden[option] is False


@pytest.mark.parametrize("name", MODULES)
def test_documentation_is_complete(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(name, monkeypatch)
    fragments = call.documentation["extends_documentation_fragment"]
    assert {"infrafabric.chromadb.attributes", "infrafabric.chromadb.attributes.actiongroup"} <= set(fragments)
    assert ("infrafabric.chromadb.attributes.reads" in fragments) == (name.endswith("_info") or name == "validate")
    assert call.documentation["version_added"] == "1.0.0"
    returned = yaml.safe_load(call.module.RETURN)
    assert {"seconds", "failure_class"} <= set(returned)
    assert list(undocumented(returned)) == []


def undocumented(returned: dict[str, Any], where: str = "") -> Iterator[str]:
    for name, value in returned.items():
        missing = {"description", "type", "returned"} - set(value)
        if missing or (value["type"] == "list" and "elements" not in value) or not ({"sample", "contains"} & set(value)):
            yield f"{where}{name}"
        yield from undocumented(value.get("contains", {}), f"{where}{name}.")


@pytest.mark.parametrize("name", MODULES)
def test_examples_are_tasks_that_the_module_accepts(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    call = Call(name, monkeypatch)
    tasks = yaml.safe_load(call.module.EXAMPLES)
    own = [task[f"infrafabric.chromadb.{name}"] for task in tasks if f"infrafabric.chromadb.{name}" in task]
    assert own
    for arguments in own:
        # A dictionary that Ansible puts in is no dictionary yet.
        later = {option for option, value in arguments.items() if call.spec[option]["type"] == "dict" and str(value).startswith("{{ ")}
        given = {option: {} if option in later else value for option, value in arguments.items()}
        assert ArgumentSpecValidator(call.spec, **call.rules).validate(given).error_messages == []
    for url in re.findall(r"https?://([^:/\s]+)", call.module.EXAMPLES):
        assert url == "localhost" or url.startswith("192.0.2.")


def test_the_modules_of_the_public_interface_are_there() -> None:
    assert set(MODULES) >= PUBLIC
    assert set(DEFAULTS) == PUBLIC


def test_every_module_is_in_the_action_group() -> None:
    runtime = yaml.safe_load((Path(_argument_spec.__file__).parents[2] / "meta" / "runtime.yml").read_text())
    assert sorted(runtime["action_groups"]["chromadb"]) == MODULES
