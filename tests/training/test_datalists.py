import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from monai_dental.errors import DatasetError
from monai_dental.phantom import PHANTOM_VERSION
from monai_dental.training.datalists import (
    affordable_count,
    digest_of_images,
    find_images,
    hold_out,
    load_datalist,
    phantom_folder,
    read_datalist,
    read_pairs,
    split_datalist,
)


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_images_come_in_natural_order(tmp_path):
    touch(tmp_path, "10.png", "2.png", "1.png", "b/3.JPG", "notes.txt", ".hidden/4.png")

    names = [str(path.relative_to(tmp_path)) for path in find_images(tmp_path)]

    assert names == ["1.png", "2.png", "10.png", "b/3.JPG"]


def test_links_are_followed_once_and_broken_ones_listed(tmp_path):
    touch(tmp_path, "studies/1.png", "links/2.png")
    (tmp_path / "links" / "studies").symlink_to(tmp_path / "studies")
    (tmp_path / "links" / "studies" / "loop").symlink_to(tmp_path / "links")
    (tmp_path / "links" / "gone.png").symlink_to(tmp_path / "nothing.png")

    found = [str(path.relative_to(tmp_path / "links")) for path in find_images(tmp_path / "links")]

    assert found == ["2.png", "gone.png", "studies/1.png"]


def test_output_within_the_input_is_passed_over(tmp_path):
    touch(tmp_path, "1.png", "out/1.png", "out_figures/1.png")
    outputs = [str(tmp_path / "out"), str(tmp_path / "out_figures")]

    datalist = read_datalist(str(tmp_path), excluded=outputs)

    assert datalist == [{"image": str(tmp_path / "1.png")}]
    with pytest.raises(DatasetError, match="holds nothing but the output"):
        read_datalist(str(tmp_path), excluded=[str(tmp_path)])


def test_folder_may_be_called_by_a_number(tmp_path, monkeypatch):
    touch(tmp_path, "2024/1.png")
    monkeypatch.chdir(tmp_path)

    assert read_datalist(2024) == [{"image": "2024/1.png"}]  # as Fire hands it over


def test_all_images_may_be_held_out():
    datalist = [{"image": "1.png"}, {"image": "2.png"}]

    assert hold_out(datalist, 1) == [datalist[:1], datalist[1:]]
    assert hold_out(datalist, 10) == [[], datalist]


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(
        DatasetError, match=r"nowhere: need a folder of images \(\.png, .*found nothing"
    ):
        read_datalist(str(tmp_path / "nowhere"))


def test_file_instead_of_a_folder_is_named(tmp_path):
    touch(tmp_path, "1.png")
    with pytest.raises(DatasetError, match=r"1\.png: need a folder of images .*found a file"):
        read_datalist(str(tmp_path / "1.png"))


def test_empty_folder_is_named_with_what_was_looked_for(tmp_path):
    touch(tmp_path, "notes.txt")
    with pytest.raises(DatasetError, match=r"no images in this folder; looked for \.png, "):
        read_datalist(str(tmp_path))


def test_pairs_are_of_one_name_in_two_folders(tmp_path):
    touch(tmp_path / "noisy", "10.png", "2.png", "b/1.png")
    touch(tmp_path / "clean", "2.png", "10.png", "b/1.png", "more.png")

    pairs = read_pairs(str(tmp_path / "noisy"), str(tmp_path / "clean"))

    assert pairs == [
        {"image": f"{tmp_path}/noisy/{name}", "label": f"{tmp_path}/clean/{name}"}
        for name in ("2.png", "10.png", "b/1.png")
    ]


def test_noisy_image_without_a_clean_one_is_named(tmp_path):
    touch(tmp_path / "noisy", "1.png", "2.png")
    touch(tmp_path / "clean", "1.png")

    with pytest.raises(
        DatasetError, match=r"noisy/2\.png: no clean image for it; looked for .*clean/2\.png"
    ):
        read_pairs(str(tmp_path / "noisy"), str(tmp_path / "clean"))


@pytest.mark.parametrize("folders", [("here", None), (None, "here")])
def test_one_folder_of_a_pair_alone_is_refused(folders):
    with pytest.raises(DatasetError, match="need dataset_dir .* and label_dir .*, or neither"):
        read_pairs(*folders)


def test_last_images_validate():
    datalist = [{"image": f"{i}.png"} for i in range(120)]

    train, validation = split_datalist(datalist, 20)

    assert train == datalist[:100]
    assert validation == datalist[100:]


def test_no_patient_is_in_both_parts(dicom_file):
    paths = [dicom_file(f"{index}.dcm", PatientID=patient) for index, patient in enumerate("ABACB")]
    datalist = [{"image": str(path)} for path in paths]

    train, validation = split_datalist(datalist, 2)

    assert [datalist.index(item) for item in train] == [0, 2]
    assert [datalist.index(item) for item in validation] == [1, 3, 4]


def test_broken_dicom_counts_as_a_patient_of_its_own(dicom_file):
    path = dicom_file("0.dcm")
    path.write_bytes(path.read_bytes()[:150])
    datalist = [{"image": str(path)}, {"image": str(dicom_file("1.dcm"))}]

    assert split_datalist(datalist, 1) == [datalist[:1], datalist[1:]]


@pytest.mark.parametrize("count", [4, 5, 0])
def test_split_with_an_empty_part_is_refused(count):
    datalist = [{"image": f"{i}.png"} for i in range(4)]

    with pytest.raises(
        DatasetError, match=f"4 images, of which the last {count} .* are for validation"
    ):
        split_datalist(datalist, count)


def test_phantom_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MONAI_DENTAL_CACHE", str(tmp_path / "file"))

    with pytest.raises(DatasetError, match="cannot keep simulated images here"):
        phantom_folder()


def test_what_a_killed_process_left_of_it_is_removed_a_day_later(tmp_path, monkeypatch):
    monkeypatch.setenv("MONAI_DENTAL_CACHE", str(tmp_path))
    monkeypatch.setattr("monai_dental.training.datalists.PHANTOM_COUNT", 1)
    name = f".phantom-{PHANTOM_VERSION}-1-"
    old, young = (tmp_path / f"{name}{age}" for age in ("old", "young"))
    for folder in (old, young):
        (folder / "clean").mkdir(parents=True)
    os.utime(old, (0, 0))

    phantom_folder()

    assert young.is_dir()  # another process may be at work
    assert not old.exists()


def test_phantom_folder_is_made_once_and_whole(tmp_path, monkeypatch):
    monkeypatch.setenv("MONAI_DENTAL_CACHE", str(tmp_path))
    monkeypatch.setattr("monai_dental.training.datalists.PHANTOM_COUNT", 2)

    first = read_datalist(None)
    times = [path.stat().st_mtime_ns for path in phantom_folder().rglob("*.png")]
    second = read_datalist(None, phantom="noisy")

    assert [item["image"][-11:] for item in first] == ["clean/1.png", "clean/2.png"]
    assert [item["image"][-11:] for item in second] == ["noisy/1.png", "noisy/2.png"]
    assert times == [path.stat().st_mtime_ns for path in phantom_folder().rglob("*.png")]
    assert read_pairs(None, None) == [
        {"image": noisy["image"], "label": clean["image"]}
        for noisy, clean in zip(second, first, strict=True)
    ]
    assert not list(tmp_path.glob(".phantom-*"))


@pytest.mark.parametrize(("count", "expected"), [(1, 5), (9, 5)])
def test_memory_bounds_how_many_images_are_kept(tmp_path, count, expected):
    for number in range(count):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.zeros((256, 256), np.uint8))
    datalist = [{"image": str(path)} for path in sorted(tmp_path.iterdir())]

    assert affordable_count(datalist, limit_mb=5 * 256 * 256 * 4 / 2**20) == expected
    assert affordable_count(datalist, limit_mb=0.1) == 0


def test_label_counts_in_the_memory_of_an_item(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((256, 256), np.uint8))
    item = {"image": str(tmp_path / "a.png"), "label": str(tmp_path / "a.png")}

    assert affordable_count([item], limit_mb=1) == 2


def test_datalist_from_a_file_keeps_any_name(tmp_path):
    datalist = [[{"image": "$1/0 #3 @x %y.png"}], []]
    (tmp_path / "list.json").write_text(json.dumps(datalist))

    assert load_datalist(str(tmp_path / "list.json")) == datalist


def test_digest_tells_when_the_contents_of_an_image_changed(tmp_path):
    datalist = [{"image": str(tmp_path / name)} for name in ("1.png", "2.png")]
    for item in datalist:
        Path(item["image"]).write_bytes(b"one")
    before = digest_of_images(datalist)

    Path(datalist[0]["image"]).touch()
    assert digest_of_images(datalist) == before
    Path(datalist[0]["image"]).write_bytes(b"two")
    assert digest_of_images(datalist) != before
    Path(datalist[1]["image"]).unlink()
    with pytest.raises(DatasetError, match=r"2\.png: cannot be read: No such file"):
        digest_of_images(datalist)
