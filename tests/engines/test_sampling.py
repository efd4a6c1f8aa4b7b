from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter

import pytest
import scipy.stats
import torch

from mmsoc_ray.engines.sampling import SampledTokens, choose_tokens
from mmsoc_ray.models.entry import Decoding

DRAWS = 20_000
LOGITS = torch.tensor([1.5, -0.5, 3.0, 2.0, -4.0, 0.5, 2.5, -torch.inf])


def random_logits(rows: int = 16, tokens: int = 300) -> torch.Tensor:
    return 2 * torch.randn(rows, tokens, generator=torch.Generator().manual_seed(4))


def drawn(decoding: Decoding, logits: torch.Tensor = LOGITS, place: int = 0) -> list[int]:
    """One token for each of many seeds."""
    tokens: list[int] = choose_tokens(logits.expand(DRAWS, -1), decoding, range(DRAWS), place).tolist()
    return tokens


def p_value(tokens: list[int], logits: torch.Tensor, temperature: float, kept: set[int]) -> float:
    """How well draws agree with the softmax over the kept tokens."""
    weights = {token: math.exp(logits[token].item() / temperature) for token in kept}
    counts = Counter(tokens)
    assert counts.keys() <= kept
    expected = [DRAWS * weight / sum(weights.values()) for weight in weights.values()]
    return float(scipy.stats.chisquare([counts[token] for token in weights], expected).pvalue)


@pytest.mark.parametrize(
    ("decoding", "kept"),
    [
        (Decoding(temperature=1.0), {0, 1, 2, 3, 4, 5, 6}),
        (Decoding(temperature=0.5), {0, 1, 2, 3, 4, 5, 6}),
        (Decoding(temperature=2.0), {0, 1, 2, 3, 4, 5, 6}),
        (Decoding(temperature=1.0, top_k=3), {2, 3, 6}),
        (Decoding(temperature=1.0, top_p=0.75), {2, 3, 6}),  # of 0.435, 0.264, 0.160, 0.097, ...
        (Decoding(temperature=1.0, top_p=0.69), {2, 6}),
        (Decoding(temperature=1.0, top_k=3, top_p=0.8), {2, 6}),  # of 0.506, 0.307, 0.186
        (Decoding(temperature=2.0, top_k=50, top_p=0.6), {2, 3, 6}),
    ],
)
def test_draws_are_distributed_as_the_softmax_of_what_is_left_in(decoding: Decoding, kept: set[int]) -> None:
    for place in (0, 7):
        tokens = drawn(decoding, place=place)
        assert p_value(tokens, LOGITS, decoding.temperature, kept) > 0.001


def test_draws_over_the_places_of_one_answer_are_distributed_as_the_softmax() -> None:
    how = Decoding(temperature=1.0)
    tokens = [int(choose_tokens(LOGITS[None], how, [11], place)) for place in range(DRAWS)]
    assert p_value(tokens, LOGITS, 1.0, set(range(7))) > 0.001
    pairs = Counter(itertools.pairwise(tokens))
    table = [[pairs[one, other] for other in (0, 2, 3, 6)] for one in (0, 2, 3, 6)]
    assert scipy.stats.chi2_contingency(table).pvalue > 0.001  # a token says nothing of the next one


def test_a_rare_token_is_drawn_as_often_as_its_probability_says() -> None:
    logits = torch.full((4096,), -math.log(4096.0))  # together as likely as the first
    logits[0] = 0.0
    rare = sum(token > 0 for token in drawn(Decoding(temperature=1.0), logits))
    assert scipy.stats.binomtest(rare, DRAWS, 4095 / 8191).pvalue > 0.001


def test_a_rows_token_does_not_depend_on_its_neighbours() -> None:
    logits, how, seeds = random_logits(), Decoding(temperature=1.3, top_p=0.95), range(100, 116)
    together = choose_tokens(logits, how, seeds, 3).tolist()
    alone = [choose_tokens(logits[row, None], how, [seed], 3).item() for row, seed in enumerate(seeds)]
    backwards = choose_tokens(logits.flip(0), how, seeds[::-1], 3).tolist()
    assert together == alone == backwards[::-1]
    assert together != choose_tokens(logits, how, seeds, 4).tolist()


def test_the_noise_is_that_of_the_published_generator() -> None:
    def token(seed: int, place: int) -> int:
        """The same in whole numbers of Python."""
        state = int.from_bytes(hashlib.sha256(f"{seed} {place}".encode()).digest()[:8])
        best: list[float] = []
        for _ in range(300):
            state = (state + 0x9E3779B97F4A7C15) % 2**64
            bits = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
            bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) % 2**64
            bits ^= bits >> 31
            best.append(-math.log(-math.log(((bits >> 12) + 0.5) / 2**52)))
        return best.index(max(best))

    flat = torch.zeros(20, 300)
    found = choose_tokens(flat, Decoding(temperature=1.0), range(20), 5).tolist()
    assert found == [token(seed, 5) for seed in range(20)]
    assert len(set(found)) > 15


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(),
        Decoding(temperature=1.0, top_k=1),
        Decoding(temperature=2.0, top_p=1e-9),
        Decoding(temperature=1e-3),
        Decoding(temperature=1e-300),
    ],
)
def test_with_nothing_left_to_chance_the_likeliest_token_is_chosen(decoding: Decoding) -> None:
    logits = random_logits()
    assert choose_tokens(logits, decoding, range(16), 0).tolist() == logits.argmax(dim=-1).tolist()


def test_of_equally_likely_tokens_one_is_left_in_and_it_is_the_greedy_one() -> None:
    logits = torch.tensor([[0.0, 5.0, 5.0, 1.0, 5.0]]).expand(50, -1).to(torch.bfloat16)
    assert set(choose_tokens(logits, Decoding(temperature=1.0, top_k=1), range(50), 0).tolist()) == {1}
    assert set(choose_tokens(logits, Decoding(temperature=1.0, top_k=2), range(50), 0).tolist()) == {1, 2}


def test_the_librarys_greedy_search_is_left_the_drawn_token_only() -> None:
    how, logits = Decoding(temperature=1.0), random_logits()
    processor = SampledTokens(how, range(16))
    for place in range(3):
        left = processor(torch.zeros(16, 0, dtype=torch.long), logits)
        assert torch.isfinite(left).sum(dim=-1).tolist() == [1] * 16
        assert left.argmax(dim=-1).tolist() == choose_tokens(logits, how, range(16), place).tolist()
