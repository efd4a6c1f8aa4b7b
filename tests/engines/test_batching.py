from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from mmsoc_ray.engines.batching import BatchSize, pack, run_in_halves

sizes = st.lists(
    st.builds(BatchSize, st.sampled_from(["a", "b"]), st.integers(1, 50), st.integers(1, 20)), min_size=1, max_size=40
)


@given(sizes, st.integers(1, 400))
def test_every_request_stands_in_exactly_one_batch(requests: list[BatchSize], batch_tokens: int) -> None:
    batches = pack(requests, batch_tokens)
    assert sorted(position for batch in batches for position in batch) == list(range(len(requests)))


@given(st.lists(st.integers(1, 50), min_size=1, max_size=40), st.integers(1, 400))
def test_padded_tokens_stay_within_the_bound(prompts: list[int], batch_tokens: int) -> None:
    for batch in pack([BatchSize("a", prompt, 5) for prompt in prompts], batch_tokens):
        padded = len(batch) * (max(prompts[position] for position in batch) + 5)
        assert padded <= batch_tokens or len(batch) == 1


def test_known_tokens_count_where_they_are_held_and_not_where_they_are_computed() -> None:
    requests = [BatchSize("a", 110, 5, known_tokens=100)] * 10
    assert [len(batch) for batch in pack(requests, 60)] == [4, 4, 2]  # 15 tokens each
    assert [len(batch) for batch in pack(requests, 60, 400)] == [3, 3, 3, 1]  # 115 each
    assert [len(batch) for batch in pack(requests, 1, 1)] == [1] * 10


def test_groups_never_share_a_batch() -> None:
    requests = [BatchSize(group, 3, 1) for group in "abab"]
    assert pack(requests, 1000) == [[0, 2], [1, 3]]


def test_similar_lengths_run_together_and_ties_keep_their_order() -> None:
    requests = [BatchSize("a", prompt, 0) for prompt in (10, 2, 10, 2)]
    assert pack(requests, 20) == [[1, 3], [0, 2]]


def test_a_failing_request_costs_its_neighbours_nothing() -> None:
    failures: list[str] = []

    def run(items: Sequence[int]) -> list[str]:
        if 3 in items:
            raise RuntimeError(f"batch of {len(items)}")
        return [str(item) for item in items]

    results = run_in_halves(
        range(8), run, lambda item, error: f"{item} failed: {error}", lambda e: failures.append(str(e))
    )
    assert list(results) == ["0", "1", "2", "3 failed: batch of 1", "4", "5", "6", "7"]
    assert failures == ["batch of 8", "batch of 4", "batch of 2", "batch of 1"]
