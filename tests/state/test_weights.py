import numpy as np
import pytest

from agentsched.core.forecast import QUANTILES
from agentsched.forecast.network_inputs import INPUTS
from agentsched.forecast.quantile_net import ExpertMixture
from agentsched.state.weights import packed_weights, unpacked_weights


def test_weights_come_back_as_they_were():
    rng = np.random.default_rng(0)
    shapes = ((INPUTS, 2), (2,), (INPUTS, 2 * QUANTILES), (2 * QUANTILES,))
    made = ExpertMixture(np.ones(INPUTS), *(rng.normal(size=shape) for shape in shapes))
    again = unpacked_weights(packed_weights(made))
    assert isinstance(again, ExpertMixture)
    np.testing.assert_array_equal(again.gate, made.gate)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"PK\x03\x04", b"\x93NUMPY"])
def test_what_is_none_is_refused(content):
    with pytest.raises(ValueError):
        unpacked_weights(content)
