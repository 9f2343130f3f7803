import math

import numpy as np
import pytest

from monai_dental.benchmark.observer import (
    Trials,
    area_under_curve,
    channelize,
    compare,
    contrast_to_noise,
    cross_validate,
    detectability,
    difference_of_gaussians,
    jackknife,
    threshold_at,
    train_observer,
)

SIZE, COUNT, SIGMA = 32, 1600, 0.1


@pytest.fixture
def generator():
    return np.random.default_rng(5)


@pytest.fixture
def channels():
    return difference_of_gaussians(SIZE)


def blob(amplitude, width=3.0):
    offsets = np.arange(SIZE) - SIZE // 2
    profile = np.exp(-np.square(offsets) / (2 * width**2))
    return amplitude * profile[:, None] * profile


def white_trials(generator, channels, signal, count=COUNT):
    noise = SIGMA * generator.standard_normal((2, count, SIZE, SIZE))
    outputs = channelize(noise + np.array([np.zeros_like(signal), signal])[:, None], channels)
    return Trials(outputs[0], outputs[1], np.arange(count) // 20)


def visible_part(channels, signal):
    """Return the energy of a signal in the space that the channels span."""
    basis = channels.reshape(len(channels), -1)
    part, *_ = np.linalg.lstsq(basis.T, signal.ravel(), rcond=None)
    return float(np.square(basis.T @ part).sum())


def test_detectability_in_white_noise_is_the_analytic_one(generator, channels):
    signal = blob(0.03)
    trials = white_trials(generator, channels, signal)
    expected = math.sqrt(visible_part(channels, signal)) / SIGMA

    def figure(rows):
        return np.array([cross_validate(trials.only(rows), trials.only(rows)).detectability])

    (value,), (error,) = jackknife(figure, trials.groups)
    assert 0.02 < error < 0.08
    assert value == pytest.approx(expected, abs=3 * error)
    ideal = math.sqrt(np.square(signal).sum()) / SIGMA
    assert 0.8 * ideal < expected < ideal


def test_area_of_gaussian_scores_follows_from_detectability(generator, channels):
    trials = white_trials(generator, channels, blob(0.03))
    result = cross_validate(trials, trials)

    expected = 0.5 * (1 + math.erf(result.detectability / 2))
    assert result.auc == pytest.approx(expected, abs=0.02)


def test_without_a_signal_nothing_is_detected(generator, channels):
    trials = white_trials(generator, channels, blob(0.0))
    result = cross_validate(trials, trials)

    assert result.auc == pytest.approx(0.5, abs=0.05)
    assert result.detectability == pytest.approx(0.0, abs=0.15)


def test_training_data_would_flatter_the_observer(generator):
    again, held_out = [], []
    for _ in range(20):
        trials = Trials(*generator.standard_normal((2, 40, 8)), np.arange(40))
        template = train_observer(trials)
        again.append(detectability(trials.absent @ template, trials.present @ template))
        held_out.append(cross_validate(trials, trials).detectability)

    assert np.mean(again) > 0.5
    assert abs(np.mean(held_out)) < 0.2


def test_false_positives_of_the_reference_are_at_its_rate(generator, channels):
    trials = white_trials(generator, channels, blob(0.03))

    result = cross_validate(trials, trials)
    assert result.false_positive_rate == pytest.approx(0.1, abs=0.03)


def test_made_up_lesions_raise_the_false_positive_rate(generator, channels):
    reference = white_trials(generator, channels, blob(0.03))
    made_up = channelize(blob(0.03), channels)
    processed = Trials(reference.absent + made_up, reference.present, reference.groups)

    assert cross_validate(processed, reference).false_positive_rate > 0.3


def test_less_noise_without_bias_lowers_the_false_positive_rate(generator, channels):
    reference = white_trials(generator, channels, blob(0.03))
    processed = Trials(reference.absent / 2, reference.present / 2, reference.groups)

    result = cross_validate(processed, reference)
    assert result.false_positive_rate < 0.05
    assert result.detectability == pytest.approx(cross_validate(reference, reference).detectability)


def test_paired_difference_is_surer_than_its_parts(generator, channels):
    reference = white_trials(generator, channels, blob(0.03), count=400)
    change = 0.01 * generator.standard_normal((2, *reference.absent.shape))
    processed = Trials(
        reference.absent + change[0], reference.present + change[1], reference.groups
    )

    found = compare({"noisy": reference, "processed": processed}, "noisy")
    assert found["noisy"]["d' - noisy"] == (0.0, 0.0)
    assert set(found["processed"]) == {"d'", "d' - noisy", "AUC", "FPR"}
    assert 0 < found["processed"]["d' - noisy"][1] < 0.7 * found["processed"]["d'"][1]


def test_threshold_moves_with_the_scores(generator):
    absent = generator.standard_normal(999)
    threshold = threshold_at(absent, 0.1)

    assert (absent > threshold).mean() == pytest.approx(0.1, abs=0.002)
    assert threshold_at(absent + 5, 0.1) == pytest.approx(threshold + 5)
    assert threshold_at(3 * absent, 0.1) == pytest.approx(3 * threshold)


def test_ties_count_half_of_the_area():
    assert area_under_curve(np.array([1.0, 2.0]), np.array([2.0, 3.0])) == 0.875
    assert area_under_curve(np.ones(3), np.ones(2)) == 0.5


def test_channels_ignore_the_mean_and_are_centred(channels):
    assert np.abs(channels.sum(axis=(1, 2))).max() < 1e-9
    assert np.square(channels).sum(axis=(1, 2)) == pytest.approx(1.0)
    assert all(np.unravel_index(one.argmax(), one.shape) == (16, 16) for one in channels)


def test_channel_passes_its_band():
    channels = difference_of_gaussians(256, count=3, lowest=0.02, ratio=2.0)
    spectra = np.abs(np.fft.rfft2(channels))[:, 0]
    peaks = np.fft.rfftfreq(256)[spectra.argmax(axis=1)]
    # Where the derivative of the difference of the two Gaussians is 0.
    factor = math.sqrt(4 * math.log(1.67) / (1 - 1.67**-2))
    assert peaks == pytest.approx(factor * 0.02 * 2.0 ** np.arange(3), abs=1 / 256)


def test_jackknife_of_a_mean_is_its_standard_error(generator):
    values = generator.standard_normal(50)

    (mean,), (error,) = jackknife(lambda rows: np.array([values[rows].mean()]), np.arange(50))
    assert mean == pytest.approx(values.mean())
    assert error == pytest.approx(values.std(ddof=1) / math.sqrt(50))


def test_jackknife_counts_groups_not_rows(generator):
    values = generator.standard_normal(50).repeat(10)
    groups = np.arange(50).repeat(10)

    _, (error,) = jackknife(lambda rows: np.array([values[rows].mean()]), groups)
    assert error == pytest.approx(values[::10].std(ddof=1) / math.sqrt(50))


def test_contrast_to_noise_of_a_known_patch(generator):
    images = 0.1 * generator.standard_normal((20, 64, 64))
    lesion = np.zeros((64, 64), dtype=bool)
    lesion[24:40, 24:40] = True
    images[:, lesion] -= 0.2

    ratios = contrast_to_noise(images, lesion, ~lesion)
    assert ratios.shape == (20,)
    assert ratios.mean() == pytest.approx(-2.0, abs=0.05)


def test_wrong_shapes_are_named(channels):
    with pytest.raises(ValueError, match=r"images \(8, 8\) do not fit channels \(10, 32, 32\)"):
        channelize(np.zeros((8, 8)), channels)
    with pytest.raises(ValueError, match=r"must both be \(trials, channels\)"):
        Trials(np.zeros((4, 3)), np.zeros((5, 3)), np.zeros(4, dtype=int))
    with pytest.raises(ValueError, match=r"groups \(3,\) must be \(4,\)"):
        Trials(np.zeros((4, 3)), np.zeros((4, 3)), np.zeros(3, dtype=int))
    mask = np.zeros((8, 8), dtype=bool)
    with pytest.raises(ValueError, match="differ in size"):
        contrast_to_noise(np.zeros((9, 8)), mask, mask)


def test_what_cannot_be_measured_is_refused():
    few = Trials(np.zeros((3, 3)), np.zeros((3, 3)), np.arange(3))
    with pytest.raises(ValueError, match="3 trials cannot train 3 channels"):
        train_observer(few)
    with pytest.raises(ValueError, match="different groups"):
        cross_validate(few, Trials(few.absent, few.present, np.arange(3) + 1))
    with pytest.raises(ValueError, match="do not vary"):
        detectability(np.zeros(3), np.ones(3))
    with pytest.raises(ValueError, match="at least 2 of each"):
        detectability(np.zeros(1), np.ones(3))
    with pytest.raises(ValueError, match="need some of each"):
        area_under_curve(np.zeros(0), np.ones(3))
    with pytest.raises(ValueError, match="rate between 0 and 1"):
        threshold_at(np.zeros(3), 1.0)
    with pytest.raises(ValueError, match="1 group"):
        jackknife(lambda rows: np.ones(1), np.zeros(5, dtype=int))
    with pytest.raises(ValueError, match="ratio > 1"):
        difference_of_gaussians(32, ratio=1.0)
    mask = np.ones((8, 8), dtype=bool)
    with pytest.raises(ValueError, match="overlap"):
        contrast_to_noise(np.zeros((8, 8)), mask, mask)
    with pytest.raises(ValueError, match="a pixel of lesion"):
        contrast_to_noise(np.zeros((8, 8)), ~mask, mask)
