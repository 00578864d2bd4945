# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A piece of work in a process whose files may not grow: what a full disk does, without one."""

from __future__ import annotations

import os
import resource
from typing import Callable


def failure_with_files_of(size: int, work: Callable[[], object]) -> str:
    """How it ends where no file may be larger than so many bytes: `failure_class: message`, or the name of another exception and what it says."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        answer = "nothing failed"
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
            work()
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
