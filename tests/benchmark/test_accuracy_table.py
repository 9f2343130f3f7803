from monai_dental.benchmark.accuracy_table import format_accuracy


def test_tables_name_the_data_range_and_leave_out_what_was_not_run():
    rows = [
        {"noise": "white 0.05", "method": "a", "psnr": 30.0, "ssim": 0.5},
        {"noise": "white 0.05", "method": "a", "psnr": 31.0, "ssim": 0.7},
        {"noise": "white 0.1", "method": "b", "psnr": 28.0, "ssim": 0.25},
    ]

    lines = format_accuracy(rows).splitlines()

    assert lines[0] == "| PSNR dB, data range 1 | white 0.05 | white 0.1 |"
    assert lines[2:4] == ["| a | 30.50 | – |", "| b | – | 28.00 |"]
    assert lines[7:9] == ["| a | 0.600 | – |", "| b | – | 0.250 |"]
    assert len(lines) == 9  # nothing of measures that no row has


def test_table_of_edges_has_the_noises_at_which_they_were_measured():
    column = "mtf50_0.05_left_0.25"
    rows = [
        {"noise": "white 0.02", "method": "a", column: 0.75},
        {"noise": "white 0.05", "method": "a", column: ""},
        {"noise": "white 0.02", "method": "b", column: float("nan")},
    ]

    lines = format_accuracy(rows).splitlines()

    assert lines[0] == "| MTF50 of edges of contrast 0.05, 25% of the noise left | white 0.02 |"
    assert lines[2:4] == ["| a | 0.75 |", "| b | – |"]
