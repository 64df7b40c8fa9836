"""Groups of sampling units by hand."""

from __future__ import annotations

import numpy as np

from sae_research.metrics.groups import GROUPS, by_number, consecutive, dealt, sum_by_group, whole_documents


def test_runs_and_deals() -> None:
    assert consecutive(5, most=2).of_unit.tolist() == [0, 0, 0, 1, 1]
    assert (dealt(3).of_unit.tolist(), dealt(3).n) == ([0, 1, 2], 3)
    assert dealt(100).of_unit[:34].tolist() == [*range(32), 0, 1]
    assert by_number(np.array([33, 64, 1])).of_unit.tolist() == [1, 0, 1]
    assert consecutive(0).n == dealt(0).n == 0


def test_no_document_is_divided() -> None:
    documents = np.repeat(np.arange(400), 9)
    grouping = whole_documents(documents)
    assert grouping.n == GROUPS
    assert (np.diff(grouping.of_unit) >= 0).all()
    for document in range(400):
        assert len(set(grouping.of_unit[documents == document])) == 1
    sizes = np.bincount(grouping.of_unit)
    assert sizes.max() - sizes.min() <= 9


def test_a_long_document_makes_groups_few() -> None:
    """A document of a quarter of the rows: no more than 1.5 times 4 groups."""
    documents = np.concatenate([np.zeros(40, dtype=int), 1 + np.arange(120)])
    assert whole_documents(documents).n <= 6
    assert whole_documents(np.zeros(10)).n == 1, "one document has no error that could be seen"
    assert whole_documents(np.arange(10)).n == 10, "a document a row"


def test_sums_by_group() -> None:
    rows = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    assert sum_by_group(rows, by_number(np.array([2, 0, 2]))._replace(n=3)).tolist() == [[3, 4], [0, 0], [6, 8]]
