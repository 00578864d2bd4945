# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""From Ansible's parameters to one call of an operation, and from its outcome or its error to Ansible's result."""

from __future__ import annotations

import ctypes
import re
import traceback
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Callable
from urllib.parse import unquote

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.parameters import remove_values

from . import _libraries
from ._argument_spec import ArgumentSpec, endpoint
from ._endpoint import Endpoint, normalized_url, parse_endpoint
from ._errors import OperationError, UsageError
from ._operations.outcome import Context, Outcome
from ._printable import printable
from ._progress import Progress

FAITHFUL_COPY = "none"
SHORTEST_SECRET = 4
# From glibc's malloc.h
M_ARENA_MAX = -8


class ChromaModule(AnsibleModule):  # type: ignore[misc]
    """An AnsibleModule whose failures always carry a failure_class; what Ansible itself finds wrong with the options is `usage`."""

    def _load_params(self) -> None:
        super()._load_params()
        self._hide_refused_urls()

    def _log_invocation(self) -> None:
        # Once more: options of a server that came as a text have been read by now.
        self._hide_refused_urls()
        super()._log_invocation()

    def _hide_refused_urls(self) -> None:
        """A URL with a password in it is refused later, but it is among the parameters, which Ansible returns and writes into the system's log."""
        for options in (self.params, *map(self.params.get, ("source", "target", "embedder"))):
            if isinstance(options, Mapping) and options.get("url"):
                self.no_log_values.update(_secrets_in_url(str(options["url"])))

    def fail_json(self, msg: str, **result: Any) -> None:
        result.setdefault("failure_class", UsageError.failure_class)
        super().fail_json(msg, **result)

    def add_path_info(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return what the operation returns: Ansible would add a file's owner, mode, size and state to everything that has a `path`."""
        return kwargs


def run_module(operation: Callable[..., Outcome], argument_spec: ArgumentSpec, **rules: Any) -> None:
    """Run an operation as a module and exit.

    The operation is called with one Endpoint (when the spec has the options of a server) or two (`source` and `target`), with every
    other option under its own name, None where it is absent, and with its context. `rules` are AnsibleModule's, such as mutually_exclusive.
    """
    _share_heaps()
    module = ChromaModule(argument_spec=argument_spec, supports_check_mode=True, **rules)
    if _libraries.MISSING:
        advice = " The role infrafabric.chromadb.runtime installs what the modules need."
        module.fail_json(missing_required_lib(_libraries.MISSING) + advice, exception=_libraries.MISSING_TRACEBACK)
    for warning in _unchecked(module.params):
        module.warn(remove_values(warning, module.no_log_values))
    try:
        outcome = _call(operation, module.params, module.check_mode)
    except OperationError as error:
        # A message holds all that is meant for people: no traceback. Details must not replace what every failure has.
        details = {name: value for name, value in error.details.items() if name not in ("msg", "failed", "exception", "failure_class")}
        module.fail_json(printable(error.message), failure_class=error.failure_class, exception=None, **details)
    except Exception as error:  # whatever went wrong, the caller gets a result that can be acted on
        message = f"{operation.__name__} stopped unexpectedly: {type(error).__name__}: {error}. The same task again continues it."
        module.fail_json(printable(message), failure_class="partial", exception=traceback.format_exc())
    else:
        for warning in outcome.warnings:
            # Ansible takes secrets out of results and failures, but not out of warnings.
            module.warn(remove_values(printable(warning), module.no_log_values))
        diff = {"diff": _shown(outcome.diff)} if module._diff and outcome.diff else {}
        module.exit_json(**outcome.returns, changed=outcome.changed, seconds=round(outcome.seconds, 3), **diff)


def _shown(diff: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Ansible prints a diff as it is, and names and metadata in it are somebody else's."""
    return [{name: printable(value) if isinstance(value, str) else value for name, value in part.items()} for part in diff]


def _share_heaps() -> None:
    """Let the threads of this process share two heaps.

    The C library gives each thread a heap of its own, and keeps there what batches once needed: a third of a rollback's memory.
    """
    try:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
    except (OSError, AttributeError):
        pass  # another C library than glibc, which keeps no such heaps


def _call(operation: Callable[..., Outcome], parameters: Mapping[str, Any], check_mode: bool) -> Outcome:
    """Translate a module's parameters into an operation's arguments, and call it."""
    options = dict(parameters)
    context = Context(check_mode=check_mode, progress=Progress(operation.__name__, options.pop("progress_file", None)))
    if "schema" in options:
        options["schema"] = _read_schema(options["schema"])
    return operation(*_take_endpoints(options), **options, context=context)


def _unchecked(parameters: Mapping[str, Any]) -> Iterator[str]:
    """A warning for each server that need not prove who it is."""
    for name, options in (("", parameters), *((f"{name}: ", parameters.get(name)) for name in ("source", "target", "embedder"))):
        if not isinstance(options, Mapping) or options.get("validate_certs") is not False or not options.get("url"):
            continue
        try:
            url = normalized_url(str(options["url"]))
        except UsageError:
            continue  # it is refused, and not repeated
        if url.startswith("https://"):
            yield (
                f"{name}validate_certs is false, so whoever answers for {url} is believed to be it, and can read token, password and records, and change "
                "them. Give the certificate of its authority in ca_path instead, and leave validate_certs at true."
            )


def _take_endpoints(options: dict[str, Any]) -> tuple[Endpoint, ...]:
    """Take the servers' options out of the options: none, one, or source and target."""
    if "source" in options:
        return tuple(_named_endpoint(name, options.pop(name)) for name in ("source", "target"))
    if "url" in options:
        return (parse_endpoint({name: options.pop(name) for name in endpoint()}),)
    return ()


def _named_endpoint(name: str, options: Mapping[str, Any]) -> Endpoint:
    try:
        return parse_endpoint(options)
    except UsageError as error:
        raise UsageError(f"{name}: {error.message}", **error.details) from None


def _read_schema(value: Any) -> Mapping[str, Any] | None:
    """A schema as a dictionary, or None for a faithful copy."""
    if value is None or value == FAITHFUL_COPY:
        return None
    if isinstance(value, Mapping):
        return value
    raise UsageError(
        f"schema must be a dictionary with fields, or {FAITHFUL_COPY!r} for a faithful copy, not {type(value).__name__}. "
        "A schema that is in a file is read on the control node, with the lookup ansible.builtin.file and the filter from_yaml."
    )


def _secrets_in_url(url: str) -> set[str]:
    """What must not be repeated of a URL that is refused: the whole, and what may be a user, a password or a key in it.

    A whole that its refusal says in any case, such as the scheme or the address of the example, is no secret; hiding it would garble that sentence.
    """
    try:
        normalized_url(url)
    except UsageError as error:
        whole = set() if url.strip().lower() in error.message.lower() else {url}
    else:
        return set()
    user, _at, rest = url.partition("://")[2].rpartition("@")
    # A token is sometimes put in the place of the user.
    parts = {user, *user.split(":"), user.partition(":")[2], *(part.partition("=")[2] or part for part in re.split(r"[?&;#\s]", rest)[1:])}
    # Hiding a letter or two would spoil all other texts.
    return {*whole, *(text for part in parts for text in (part, unquote(part)) if len(text) >= SHORTEST_SECRET)}
