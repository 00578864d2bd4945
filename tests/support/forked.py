# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A piece of work in a fork of this process, which may be of another user there, or on a disk that is as good as full."""

from __future__ import annotations

import os
import resource
from typing import Callable


def forked(work: Callable[[], object]) -> str:
    """How it ends there: what it returns, or of a failure `failure_class: message`, or the name of another exception and what it says."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = ""
        try:
            answer = str(work())
        except BaseException as error:
            answer = "%s: %s" % (getattr(error, "failure_class", type(error).__name__), error)
        finally:
            os.write(writing, answer.encode())
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        answer = file.read()
    os.waitpid(pid, 0)
    return answer


def failure_with_files_of(size: int, work: Callable[[], object]) -> str:
    """How it ends where no file may be larger than so many bytes: what a full disk does, without one."""

    def confined() -> str:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        work()
        return "nothing failed"

    return forked(confined)
