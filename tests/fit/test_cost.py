"""What a million tokens cost: the sums, and what a user may enter."""

from __future__ import annotations

import pytest

from ownlm.errors import InvalidSetting
from ownlm.fit.cost import Prices, million, prices


def test_machine_and_electricity_add_up() -> None:
    assert million(1000.0, None, Prices(machine_hour=3.6)) == pytest.approx(1.0)
    assert million(1000.0, 3.6, Prices(kilowatt_hour=0.3)) == pytest.approx(0.3)
    assert million(1000.0, 3.6, Prices(machine_hour=3.6, kilowatt_hour=0.3)) == pytest.approx(1.3)


def test_half_the_speed_is_twice_the_price() -> None:
    known = Prices(machine_hour=0.5)
    assert million(50.0, None, known) == pytest.approx(2 * million(100.0, None, known))  # type: ignore[operator]


def test_nothing_is_known_without_a_price_here() -> None:
    assert million(10.0, 5.0, Prices(hosted_input=1, hosted_output=2)) is None


def test_hosted_prices() -> None:
    assert prices("0.15/0.60") == Prices(hosted_input=0.15, hosted_output=0.6)
    assert prices("2") == Prices(hosted_input=2, hosted_output=2)
    assert prices(None, 0.0) == Prices(machine_hour=0.0)


@pytest.mark.parametrize("text", ["", "free", "1/2/3", "1/", "-1/2", "nan", "1,5/2"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"--price is .*such as 0.15/0.60"):
        prices(text)


def test_prices_of_this_machine() -> None:
    with pytest.raises(InvalidSetting, match=r"--machine-price is -1: give a price, 0 or more"):
        prices(None, -1)
    with pytest.raises(InvalidSetting, match=r"--electricity is nan"):
        prices(None, None, float("nan"))
