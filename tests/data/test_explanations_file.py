import io

import pyarrow.parquet as pq
import pytest

from mmsoc_ray.data.explanations import EXPLANATION_SCHEMA, ROWS_AT_ONCE, explanations_content


@pytest.mark.parametrize("count", [0, 1, ROWS_AT_ONCE + 1])
def test_rows_stand_in_their_order_however_many_there_are(count):
    rows = [(f"d/train/{at}", "humor", f"Why {at}.", "rule") for at in range(count)]
    table = pq.read_table(io.BytesIO(explanations_content(iter(rows))))
    assert table.schema.equals(EXPLANATION_SCHEMA)
    assert [tuple(row.values()) for row in table.to_pylist()] == rows
    assert explanations_content(rows) == explanations_content(rows)
