import hashlib
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mmsoc_ray.training.order import Place, SampleOrder

ORDERS = st.builds(
    SampleOrder,
    unit_samples=st.lists(st.integers(0, 6), min_size=1, max_size=12).filter(any).map(tuple),
    seed=st.integers(0, 3),
    batch=st.integers(1, 9),
    shuffle_units=st.integers(1, 5),
)
WORKERS = st.integers(1, 5)


def step_of(order: SampleOrder, step: int, workers: int) -> list[Place]:
    """Return the samples of a step as so many workers have them, put together again."""
    shares = [order.places(step, rank=rank, workers=workers) for rank in range(workers)]
    return [shares[number % workers][number // workers] for number in range(sum(map(len, shares)))]


def epoch(order: SampleOrder, number: int = 0) -> list[list[Place]]:
    first = number * order.steps_per_epoch
    return [order.places(step) for step in range(first, first + order.steps_per_epoch)]


@given(ORDERS, st.integers(0, 2))
def test_an_epoch_shows_every_sample_once(order, number):
    shown = Counter(place for step in epoch(order, number) for place in step)
    expected = {Place(unit, k) for unit, count in enumerate(order.unit_samples) for k in range(count)}
    assert shown == Counter(expected)


@given(ORDERS)
def test_only_the_last_step_of_an_epoch_is_short(order):
    sizes = [len(step) for step in epoch(order)]
    assert sizes[:-1] == [order.batch] * (len(sizes) - 1)
    assert 0 < sizes[-1] <= order.batch


@given(ORDERS, WORKERS)
def test_any_number_of_workers_learns_the_same_in_the_same_order(order, workers):
    for step in range(2 * order.steps_per_epoch):
        assert step_of(order, step, workers) == order.places(step)


@given(ORDERS, st.data())
def test_portions_from_any_step_on_hold_every_step_once_and_in_order(order, data):
    last = 3 * order.steps_per_epoch - 1
    first = data.draw(st.integers(0, last))
    portions = order.portions(first, last)
    steps = [step for portion in portions for step in range(portion.first_step, portion.last_step + 1)]
    assert steps == list(range(first, last + 1))
    assert all(order.epoch_of(portion.last_step) == portion.epoch for portion in portions)


@given(ORDERS, st.data())
def test_where_a_training_resumes_changes_no_portion_behind(order, data):
    last = 2 * order.steps_per_epoch - 1
    first = data.draw(st.integers(0, last))
    whole, rest = order.portions(0, last), order.portions(first, last)
    assert rest[1:] == [portion for portion in whole if portion.first_step > rest[0].first_step][: len(rest) - 1]


@given(ORDERS)
def test_samples_stay_in_the_window_of_their_unit(order):
    units = [place.unit for step in epoch(order) for place in step]
    windows = []
    while units:
        chosen = list(dict.fromkeys(units))[: order.shuffle_units]
        size = next((at for at, unit in enumerate(units) if unit not in chosen), len(units))
        windows.append(Counter(units[:size]))
        units = units[size:]
    for window in windows:
        assert all(count == order.unit_samples[unit] for unit, count in window.items())


def test_epochs_and_seeds_have_orders_of_their_own():
    order = SampleOrder((40,) * 10, seed=0, batch=400, shuffle_units=4)
    other = SampleOrder((40,) * 10, seed=1, batch=400, shuffle_units=4)
    assert len({tuple(order.places(0)), tuple(order.places(1)), tuple(other.places(0))}) == 3


def ranked(items: list, name: str) -> list:
    digest = {number: hashlib.sha256(f"{name}|{number}".encode()).hexdigest() for number in range(len(items))}
    return [items[number] for number in sorted(digest, key=digest.__getitem__)]


def test_the_order_is_the_one_that_is_documented():
    counts = (2, 0, 3, 1)
    order = SampleOrder(counts, seed=7, batch=100, shuffle_units=2)
    units = [unit for unit in ranked([0, 1, 2, 3], "units|7|1") if counts[unit]]
    expected = []
    for number, window in enumerate((units[:2], units[2:])):
        expected += ranked([Place(unit, k) for unit in window for k in range(counts[unit])], f"samples|7|1|{number}")
    assert order.places(1) == expected


def test_a_training_has_the_steps_of_its_epochs_and_at_least_one():
    order = SampleOrder((10,), seed=0, batch=4, shuffle_units=1)
    assert order.total_steps(epochs=2, steps=None) == 6
    assert order.total_steps(epochs=0.5, steps=None) == 2
    assert SampleOrder((30,), 0, 1, 1).total_steps(epochs=0.1, steps=None) == 3
    assert order.total_steps(epochs=0.01, steps=None) == 1
    assert order.total_steps(epochs=None, steps=5) == 5
