"""Checks of arguments at trace time: each error names the argument, what was expected, what came.

They look only at shapes, dtypes and tree structure, so they cost nothing in compiled code.
"""

from jaxrnn.checks.agreement import (
    arrays,
    check_carry,
    check_inputs,
    check_params,
    check_parts,
    check_step,
)
from jaxrnn.checks.arguments import (
    check_array,
    check_bool,
    check_choice,
    check_flags,
    check_floating,
    check_key,
    check_lengths,
    check_matches,
    check_positive,
    check_real,
    check_size,
    check_start,
    describe,
    differences,
    expected_params,
    sized,
)

__all__ = [
    "arrays",
    "check_array",
    "check_bool",
    "check_carry",
    "check_choice",
    "check_flags",
    "check_floating",
    "check_inputs",
    "check_key",
    "check_lengths",
    "check_matches",
    "check_params",
    "check_parts",
    "check_positive",
    "check_real",
    "check_size",
    "check_start",
    "check_step",
    "describe",
    "differences",
    "expected_params",
    "sized",
]
