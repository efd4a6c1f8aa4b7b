import pytest

from mmsoc_ray.results.trainings import curve_text, sparkline


@pytest.mark.parametrize(
    ("values", "drawn"),
    [
        ([0, 1, 2, 3, 4, 5, 6, 7], "▁▂▃▄▅▆▇█"),
        ([8.0, 1.0], "█▁"),
        ([2.0, 2.0, 2.0], "▁▁▁"),
        ([1.0] * 12 + [0.0] * 12, "██████▁▁▁▁▁▁"),
    ],
)
def test_bars_stand_between_the_lowest_and_the_highest(values, drawn):
    assert sparkline(values) == drawn


@pytest.mark.parametrize("count", [12, 13, 23, 100])
def test_a_long_curve_is_drawn_in_the_same_width_with_all_its_points(count):
    assert len(sparkline([float(at) for at in range(count)])) == 12
    for at in range(count):
        assert "█" in sparkline([float(one == at) for one in range(count)])


@pytest.mark.parametrize(("values", "text"), [([], ""), ([0.5], "0.500"), ([2.0, 1.0], "2.000 █▁ 1.000")])
def test_first_and_last_value_stand_beside_the_curve(values, text):
    assert curve_text(values) == text
