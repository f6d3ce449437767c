import pytest

from forecast.core.frequency import Frequency
from forecast.models.timesfm20.frequency import HIGH, LOW, MEDIUM, frequency_class


@pytest.mark.parametrize(
    ("alias", "expected"),
    [
        ("s", HIGH),
        ("15min", HIGH),
        ("h", HIGH),
        ("D", HIGH),
        ("B", HIGH),
        ("3D", HIGH),
        ("W-SUN", MEDIUM),
        ("2W", MEDIUM),
        ("MS", MEDIUM),
        ("ME", MEDIUM),
        ("BME", MEDIUM),
        ("QS", LOW),
        ("QE-DEC", LOW),
        ("3MS", LOW),
        ("YE", LOW),
        ("YS", LOW),
    ],
)
def test_a_frequency_belongs_to_the_class_the_authors_gave_it(alias, expected):
    assert frequency_class(Frequency.parse(alias)) == expected


def test_an_unknown_frequency_is_high():
    assert frequency_class(None) == HIGH
