# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A module that takes its time and tells how far it is; its end can be a success, a failure, or a sudden death."""

from __future__ import annotations

import json
import os
import signal
import time

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    spec = {"seconds": {"type": "float", "default": 0.2}, "end": {"type": "str", "default": "success"}, "progress_file": {"type": "path"}}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    seconds, path = module.params["seconds"], module.params["progress_file"]
    for step in range(1, 21):
        if path:
            with open(path + ".new", "w") as file:
                json.dump({"operation": "slow", "phase": "import", "done": step * 5, "total": 100, "seconds": step * seconds / 20}, file)
            os.replace(path + ".new", path)
        time.sleep(seconds / 20)
    if module.params["end"] == "death":
        os.kill(os.getpid(), signal.SIGKILL)
    module.warn("Mind the gap.")
    module.deprecate("An old thing.", version="9.0.0", collection_name="infrafabric.chromadb")
    if module.params["end"] == "failure":
        module.fail_json("It moved.", failure_class="drift", ids=["a"])
    module.exit_json(changed=True, seconds=seconds, check=module.check_mode, diff=[{"before": "a\n", "after": "b\n"}])


if __name__ == "__main__":
    main()
