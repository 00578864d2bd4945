"""branches LEAST  Says how many branches of plugins/module_utils the tests reach, and ends with 1 when it is less than LEAST percent.

`coverage report` counts lines and branches together, and lines are many more. Reads the report `coverage json` from standard input.
"""

import json
import sys


def main() -> int:
    least = float(sys.argv[1])
    found = json.load(sys.stdin)
    totals = found["totals"]
    percent = 100.0 * totals["covered_branches"] / totals["num_branches"]
    missing = sorted(((len(file["missing_branches"]), path) for path, file in found["files"].items()), reverse=True)[:10]
    print("\nBranches alone: %d of %d, %.2f %%; most are not reached in" % (totals["covered_branches"], totals["num_branches"], percent))
    print("\n".join("%6d  %s" % one for one in missing))
    if percent < least:
        print("FAILED: at least %.2f %% of the branches are to be reached." % least)
    return int(percent < least)


if __name__ == "__main__":
    sys.exit(main())
