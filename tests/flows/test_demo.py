from flows.demo import left_to_label


def test_of_the_demos_80_patients_the_last_five_are_left_to_label_and_of_few_none():
    assert [len(left_to_label([f"p{number}" for number in range(patients)])) for patients in (6, 12, 80)] == [0, 0, 5]
    assert left_to_label([f"p{number}" for number in range(32)]) == ["p30", "p31"]
