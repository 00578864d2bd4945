# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What becomes of a floating-point number on its way through the JSON parser of Chroma 1.x.

The server reads numbers by a fast algorithm that is one unit in the last place off for 10 to 20 % of the doubles that need
16 or 17 digits; no spelling of such a number helps. This repeats it (measured on 1.0.21 and 1.5.9: equal for 10,010 of
10,010 doubles of every exponent), so that a record can be compared with the form that the server can hold.
"""

from __future__ import annotations

import math

_POWERS = [float(f"1e{exponent}") for exponent in range(309)]
_LARGEST_POWER = len(_POWERS) - 1
# A text as short as this, without an exponent, has at most 15 digits: both algorithms read it right.
_SURELY_EXACT = 16

# A record's numbers are parsed twice: in the request, and in the server's own log. Those of a collection's metadata once.
IN_RECORDS, IN_COLLECTIONS = 2, 1


def parsed(value: float, times: int) -> float:
    """The number that the server holds after it has parsed this one so many times."""
    for _time in range(times):
        text = repr(value)
        if len(text) <= _SURELY_EXACT and "e" not in text:
            # Among them inf and nan.
            return value
        value = math.copysign(_parsed_once(text.lstrip("-")), value)
    return value


def _parsed_once(text: str) -> float:
    mantissa, _mark, power = text.partition("e")
    whole, _dot, fraction = mantissa.partition(".")
    exponent = int(power or 0) - len(fraction)
    number = float(int(whole + fraction))
    while abs(exponent) > _LARGEST_POWER:
        number /= 1e308
        exponent += _LARGEST_POWER
    return number * _POWERS[exponent] if exponent >= 0 else number / _POWERS[-exponent]
