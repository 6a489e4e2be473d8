"""A page of the example application costs little more sealed than in plain text."""

from benchmarks.clinic import measure


def test_a_list_of_100_patients_costs_at_most_1_3_times_its_plain_twin() -> None:
    sealed, plain, ratio = measure(rounds=7)
    assert ratio <= 1.3, (sealed, plain)
