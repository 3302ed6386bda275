"""Names of operations that people can read and type."""

from hypothesis import given
from hypothesis import strategies as st

from edgegal.benchmarks.layers.names import named, shortened

FUSED = "network/net_1/block_9_BN_1/batchnorm/add_1;network/net_1/block_9_1/convolution"
OTHER = "network/net_1/block_8_BN_1/batchnorm/add_1;network/net_1/block_8_1/convolution"

scopes = st.text("ab1_", min_size=1, max_size=3)
names = st.lists(scopes, min_size=1, max_size=4).map("/".join)
operations = st.lists(st.lists(names, min_size=1, max_size=2).map(";".join), min_size=1, max_size=6, unique=True)


def test_the_scope_that_no_other_operation_has_is_the_short_name():
    assert shortened([FUSED, OTHER, "scores"]) == {FUSED: "block_9_BN_1", OTHER: "block_8_BN_1", "scores": "scores"}


def test_a_scope_names_the_operation_and_a_shared_one_names_all():
    assert named("block_9_BN_1", [FUSED, OTHER]) == [FUSED]
    assert named("block_9_1", [FUSED, OTHER]) == [FUSED]
    assert named("net_1", [FUSED, OTHER]) == [FUSED, OTHER]
    assert named("block_9", [FUSED, OTHER]) == []


@given(operations)
def test_a_short_name_leads_back_to_its_operation(known):
    assert all(named(short, known) == [name] for name, short in shortened(known).items())
