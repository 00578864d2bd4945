# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""pack_prune_program.py MODULE_UTILS OUTPUT: prune_program.py and the code that it needs, as one file that Python runs.

The same code makes the same bytes, so that the role changes the file on a host only when the code has changed.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

NO_DATE = (1980, 1, 1, 0, 0, 0)


def pack(module_utils: Path, output: Path) -> None:
    """Write the program to `output`."""
    files = {"__main__.py": Path(__file__).with_name("prune_program.py")}
    files.update({str(Path("module_utils") / path.relative_to(module_utils)): path for path in sorted(module_utils.rglob("*.py"))})
    # Where there is no __init__.py, the directory has to be in the archive to be a package.
    folders = sorted({f"{parent.as_posix()}/" for name in files for parent in Path(name).parents if parent != Path(".")})
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        for folder in folders:
            archive.writestr(zipfile.ZipInfo(folder, NO_DATE), b"")
        for name, path in files.items():
            entry = zipfile.ZipInfo(name, NO_DATE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())


if __name__ == "__main__":
    pack(Path(sys.argv[1]), Path(sys.argv[2]))
