"""What every test file may ask for; nothing is switched on behind a test's back.

JAX runs here as it does for users: 32 bits, standard promotion. A file that compares in
float64 says ``pytestmark = pytest.mark.usefixtures("x64", "strict")`` and gives every array a
dtype: without one, `jnp.ones(3)` is float64 under `x64`.
"""

import jax
import pytest

collect_ignore = ["golden/make.py"]  # a script, which needs the other libraries


@pytest.fixture
def x64():
    """64-bit types for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def strict():
    """No implicit promotion: float32 + float64, or bfloat16 + float32, is an error."""
    with jax.numpy_dtype_promotion("strict"):
        yield
