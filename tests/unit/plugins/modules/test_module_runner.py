# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The runner that all modules share: what an operation is called with, and what becomes of its outcome or its error."""

from __future__ import annotations

import json
from typing import Any, Callable

import pytest
from ansible.module_utils.testing import patch_module_args

from ansible_collections.infrafabric.chromadb.plugins.module_utils import _argument_spec, _errors, _libraries, _module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._endpoint import Endpoint
from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import DriftError, OperationError, UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._module import run_module
from ansible_collections.infrafabric.chromadb.plugins.module_utils._operations.outcome import Outcome
from tests.support.run_module import as_on_a_managed_host

ONE = {**_argument_spec.endpoint(), **_argument_spec.store(), "size": {"type": "int"}, **_argument_spec.progress()}
TWO = {**_argument_spec.endpoints(), **_argument_spec.transformation()}
URL = "http://192.0.2.10:8000"
CANARY = "c4n4ry-of-a-secret"


class Operation:
    """Stands for an operation: remembers what it was called with, and returns or raises what it is told to."""

    __name__ = "operation"

    def __init__(self, result: Any = None) -> None:
        self.result = Outcome(False, 0.0, {}) if result is None else result

    def __call__(self, *servers: Endpoint, context: Any, **options: Any) -> Outcome:
        self.servers, self.options, self.context = servers, options, context
        if isinstance(self.result, Exception):
            raise self.result
        outcome: Outcome = self.result
        return outcome


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    def run(operation: Operation, spec: Any = None, check: bool = False, diff: bool = False, rules: Any = None, **options: Any) -> dict[str, Any]:
        arguments = {**options, "_ansible_check_mode": check, "_ansible_diff": diff}
        with as_on_a_managed_host(), patch_module_args(arguments), pytest.raises(SystemExit):
            run_module(operation, spec or ONE, **(rules or {}))
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
        result: dict[str, Any] = json.loads(line)
        return result

    return run


Run = Callable[..., dict[str, Any]]


def test_operation_gets_one_server_and_its_options(run: Run) -> None:
    operation = Operation()
    run(operation, url=URL, token="abcdefgh", size="3")
    assert operation.servers == (Endpoint(url=URL, token="abcdefgh"),)
    assert operation.options == {"directory": "/var/lib/chromadb/snapshots", "size": 3}
    assert operation.context.check_mode is False


def test_operation_gets_two_servers(run: Run) -> None:
    operation = Operation()
    run(operation, TWO, source={"url": URL}, target={"url": "http://192.0.2.20:8000", "tenant": "t"})
    assert [server.identity for server in operation.servers] == [f"{URL} default_tenant/default_database", "http://192.0.2.20:8000 t/default_database"]
    assert operation.options == {"collections": None, "routes": None, "schema": None, "corrections": None}


def test_operation_without_a_server(run: Run) -> None:
    operation = Operation()
    run(operation, _argument_spec.store())
    assert (operation.servers, set(operation.options)) == ((), {"directory"})


def test_check_mode_and_progress_are_passed_on(run: Run, tmp_path: Any) -> None:
    operation = Operation()
    run(operation, check=True, progress_file=str(tmp_path / "progress.json"))
    assert operation.context.check_mode is True
    operation.context.progress.publish(force=True)
    assert json.loads((tmp_path / "progress.json").read_text())["operation"] == "operation"


@pytest.mark.parametrize(("given", "passed"), [(None, None), ("none", None), ({"fields": {}}, {"fields": {}})])
def test_schema(given: Any, passed: Any, run: Run) -> None:
    operation = Operation()
    run(operation, TWO, source={"url": URL}, target={"url": URL}, schema=given)
    assert operation.options["schema"] == passed


@pytest.mark.parametrize("schema", ["seeds.yml", ["fields"], 1, True, ""])
def test_schema_that_is_none(schema: Any, run: Run) -> None:
    result = run(Operation(), TWO, source={"url": URL}, target={"url": URL}, schema=schema)
    assert result["failed"]
    assert result["failure_class"] == "usage"
    assert "schema" in result["msg"]


def test_route_has_all_its_options(run: Run) -> None:
    operation = Operation()
    run(operation, TWO, source={"url": URL}, target={"url": URL}, routes=[{"to": "t"}])
    assert operation.options["routes"] == [{"from": "*", "where": None, "to": "t", "id_prefix": None}]


@pytest.mark.parametrize("url", ["localhost:8000", " localhost:8000", "localhost", "http://", "HTTP://", "https:", "http", "host"])
def test_the_refusal_of_an_address_can_be_read(url: str, run: Run) -> None:
    """Ansible hides what is refused, and would hide it in the sentence about it as well."""
    for spec, options in ((ONE, {"url": url}), (TWO, {"source": {"url": url}, "target": {"url": URL}})):
        result = run(Operation(), spec, **options)
        assert result["failure_class"] == "usage"
        assert result["msg"].endswith("The URL must start with http:// or https:// and name a host, like http://localhost:8000.")


@pytest.mark.parametrize(
    "url", [f"http://admin:{CANARY}", f"{CANARY}:8000", f"admin:{CANARY}@host", f"http://host:8000/?key={CANARY}", f"http://host:8000 {CANARY}", CANARY]
)
def test_what_may_be_a_password_in_it_is_not_repeated(url: str, run: Run) -> None:
    for spec, options in ((ONE, {"url": url}), (TWO, {"source": {"url": url}, "target": {"url": URL}})):
        result = run(Operation(), spec, **options)
        assert result["failure_class"] == "usage"
        assert CANARY not in str(result)


def test_outcome_is_returned(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    warned: list[str] = []
    monkeypatch.setattr(_module.ChromaModule, "warn", lambda module, warning: warned.append(warning))
    outcome = Outcome(True, 1.23456, {"records": 3}, [{"before": "a\n", "after": "b\n"}], ["Mind the gap."])
    result = run(Operation(outcome))
    assert (result["changed"], result["seconds"], result["records"]) == (True, 1.235, 3)
    assert "diff" not in result
    assert warned == ["Mind the gap."]


def test_diff_is_returned_in_diff_mode_only(run: Run) -> None:
    diff = [{"before": "a\n", "after": "b\n"}]
    assert run(Operation(Outcome(True, 1.0, {}, diff)), diff=True)["diff"] == diff
    assert "diff" not in run(Operation(Outcome(False, 1.0, {}, [])), diff=True)


def test_failure_has_a_message_a_class_and_details(run: Run) -> None:
    result = run(Operation(DriftError("It moved. Freeze it.", ids=["a"])))
    assert (result["failed"], result["msg"], result["failure_class"], result["ids"]) == (True, "It moved. Freeze it.", "drift", ["a"])
    assert "exception" not in result


def test_every_failure_class_is_returned(run: Run) -> None:
    classes = {each for each in vars(_errors).values() if isinstance(each, type) and issubclass(each, OperationError)} - {OperationError}
    assert {run(Operation(each("x")))["failure_class"] for each in classes} == set(_errors.FAILURE_CLASSES)


def test_details_cannot_replace_what_a_failure_has(run: Run) -> None:
    result = run(Operation(DriftError("It moved.", msg="other", failure_class="usage", failed=False)))
    assert (result["failed"], result["msg"], result["failure_class"]) == (True, "It moved.", "drift")


def test_unexpected_error_is_a_failure_as_well(run: Run) -> None:
    result = run(Operation(ZeroDivisionError("by zero")))
    assert (result["failed"], result["failure_class"]) == (True, "partial")
    assert "ZeroDivisionError: by zero" in result["msg"]


@pytest.mark.parametrize(("options", "named"), [
    ({"unheard_of": 1}, "unheard_of"),
    ({"size": "many"}, "size"),
    ({"token_header": "cookie"}, "token_header"),
    ({"url": "ftp://192.0.2.10"}, "http://"),
    ({"username": "u"}, "password"),
])
def test_bad_option_is_usage(options: dict[str, Any], named: str, run: Run) -> None:
    operation = Operation()
    result = run(operation, **options)
    assert result["failure_class"] == "usage"
    assert named in result["msg"]
    assert not hasattr(operation, "options")


def test_broken_rule_is_usage(run: Run) -> None:
    result = run(Operation(), rules={"required_one_of": [("size", "token")]})
    assert result["failure_class"] == "usage"
    assert "size" in result["msg"]


@pytest.mark.parametrize("side", ["source", "target"])
def test_message_names_the_server_that_is_meant(side: str, run: Run) -> None:
    servers = {"source": {"url": URL}, "target": {"url": URL}, side: {"url": "192.0.2.10:8000"}}
    result = run(Operation(), TWO, **servers)
    assert result["failure_class"] == "usage"
    assert result["msg"].startswith(f"{side}: ")


def test_missing_library_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_libraries, "MISSING", "numpy")
    operation = Operation()
    result = run(operation)
    assert result["failed"]
    assert "numpy" in result["msg"]
    assert "infrafabric.chromadb.runtime" in result["msg"]
    assert not hasattr(operation, "options")


SECRETS: list[dict[str, Any]] = [
    {"token": CANARY},
    {"username": "u", "password": CANARY},
    {"headers": {"X-Api-Key": CANARY}},
]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("result", [
    Outcome(True, 1.0, {"snapshot": {"note": f"with {CANARY}"}}, [{"before": CANARY, "after": ""}], [f"saw {CANARY}"]),
    DriftError(f"refused {CANARY}", answer={"text": CANARY}),
    ValueError(f"Authorization: Bearer {CANARY}"),
], ids=["outcome", "failure", "unexpected"])
def test_no_secret_is_returned(secret: dict[str, Any], result: Any, run: Run) -> None:
    for options, spec in (({"url": URL, **secret}, ONE), ({"source": {"url": URL, **secret}, "target": {"url": URL}}, TWO)):
        returned = json.dumps(run(Operation(result), spec, diff=True, **options))
        assert CANARY not in returned
        assert ("saw ***" in returned) is isinstance(result, Outcome)


URLS_WITH_A_SECRET = [
    f"http://user:{CANARY}@192.0.2.10:8000",
    f"http://{CANARY}:x@192.0.2.10:8000",
    f"user:{CANARY}@192.0.2.10:8000",
    f"http:/user:{CANARY}@192.0.2.10:8000",
    f"http://192.0.2.10:8000?token={CANARY}",
    f"http://192.0.2.10:8000?api_key={CANARY} y",
    f"http://192.0.2.10:8000/#{CANARY}",
    f"http://user:p#{CANARY}@192.0.2.10:8000",
    f"http://user:{CANARY}#p@192.0.2.10:8000",
    f"http://user:s3/{CANARY}@192.0.2.10:8000",
    f"http://user:{CANARY}/s3@192.0.2.10:8000",
    f"http://user@{CANARY}/s3@192.0.2.10:8000",
    f"http://user:{CANARY}",
    f"http://user:x {CANARY}@192.0.2.10",
    f"http://[{CANARY}@192.0.2.10",
]


@pytest.mark.parametrize("url", URLS_WITH_A_SECRET)
def test_no_secret_of_a_url_is_returned_or_logged(url: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(_module.ChromaModule, "log", lambda module, msg, log_args=None: logged.append(f"{msg} {log_args}"))
    both = {"source": {"url": URL}, "target": {"url": url}}
    for options, spec in (({"url": url}, ONE), (both, TWO), ({**both, "target": json.dumps({"url": url})}, TWO), ({"url": url, "unheard_of": 1}, ONE)):
        result = run(Operation(), spec, **options)
        assert result["failure_class"] == "usage"
        assert CANARY not in json.dumps(result)
    assert len(logged) == 3
    assert CANARY not in str(logged)


def test_a_password_of_a_few_letters_spoils_no_other_text(run: Run) -> None:
    result = run(Operation(), url="http://a:se@192.0.2.10:8000")
    assert "user name or password" in result["msg"]
    assert "se@" not in json.dumps(result)


def test_the_url_of_an_embedder_is_hidden_as_well(run: Run) -> None:
    result = run(Operation(UsageError("refused")), {"embedder": {"type": "dict", "options": {"url": {}}}}, embedder={"url": URLS_WITH_A_SECRET[0]})
    assert CANARY not in json.dumps(result)


def test_usage_error_of_the_operation(run: Run) -> None:
    assert run(Operation(UsageError("base is not available yet")))["failure_class"] == "usage"


@pytest.mark.parametrize(("options", "warned"), [
    ({"url": "https://192.0.2.10:8000/"}, True),
    ({"url": "https://192.0.2.10:8000", "validate_certs": True}, False),
    ({"url": URL}, False),
    ({"url": f"https://user:{CANARY}@192.0.2.10:8000"}, False),
], ids=["unchecked", "checked", "nothing to check", "refused"])
def test_a_server_that_need_not_prove_who_it_is_is_warned_of(options: dict[str, Any], warned: bool, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where there is nothing to prove, and not by a URL that is refused."""
    told: list[str] = []
    monkeypatch.setattr(_module.ChromaModule, "warn", lambda module, warning: told.append(warning))
    server = {"validate_certs": False, **options}
    result = run(Operation(), TWO, source=server, target={"url": URL})
    assert [warning.startswith("source: validate_certs is false, so whoever answers for https://192.0.2.10:8000 ") for warning in told] == [True] * warned
    assert CANARY not in json.dumps([result, told])
