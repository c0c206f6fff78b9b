"""The list of mutations fits the source; `make test-mutations` runs it."""

from pathlib import Path

import pytest

from tests.mutations import MUTATIONS, Mutation

REPOSITORY = Path(__file__).parents[1]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_a_mutation_leaves_out_is_there_once_and_its_test_exists(mutation: Mutation):
    assert (REPOSITORY / mutation.file).read_text().count(mutation.old) == 1
    file, _, test = mutation.test.partition("::")
    assert f"def {test}" in (REPOSITORY / file).read_text()
