"""A user's own lists: errors name the row, and patients are kept apart."""

import json

import pytest

from monai_dental.errors import DatasetError
from monai_dental.training.datalists import hold_out, split_datalist


@pytest.fixture
def make_list(tmp_path):
    """Factory of lists of five images, two of them of one patient, with their images."""

    def make(text, suffix=".csv"):
        for number in range(1, 6):
            (tmp_path / f"{number}.png").touch()
            (tmp_path / f"clean{number}.png").touch()
        path = tmp_path / f"list{suffix}"
        path.write_text(text if isinstance(text, str) else json.dumps(text), encoding="utf-8")
        return str(path)

    return make


PATIENTS = "image,patient\n1.png,a\n2.png,b\n3.png,a\n4.png,c\n5.png,d\n"


def names(parts):
    return [[item["image"].rpartition("/")[2].removesuffix(".png") for item in part]
            for part in parts]  # fmt: skip


def test_last_images_and_others_of_their_patients_validate(make_list):
    assert names(split_datalist(make_list(PATIENTS), 3)) == [["2"], ["1", "3", "4", "5"]]


def test_folds_part_patients_and_cover_each_image_once(make_list):
    path = make_list(PATIENTS)
    held = []
    for fold in range(3):
        train, validation = names(split_datalist(path, 1, fold, 3))
        assert sorted(train + validation) == ["1", "2", "3", "4", "5"]
        assert ("1" in train) == ("3" in train)  # of one patient
        held += validation

    assert sorted(held) == ["1", "2", "3", "4", "5"]


def test_folds_of_a_folders_images_are_dealt_too(tmp_path):
    datalist = [{"image": f"{number}.png"} for number in range(1, 6)]

    assert names(split_datalist(datalist, 1, fold=1, folds=2)) == [["1", "3", "5"], ["2", "4"]]


def test_lists_own_folds_are_taken(make_list):
    path = make_list("image,fold\n1.png,7\n2.png,7\n3.png,8\n")

    assert names(split_datalist(path, 1, fold=8)) == [["1", "2"], ["3"]]
    with pytest.raises(DatasetError, match="fold 1: no such fold; there are 7, 8"):
        split_datalist(path, 1, fold=1)


def test_monais_datalist_has_its_own_validation(make_list):
    content = {
        "training": [{"image": "1.png", "label": "clean1.png"}, {"image": "2.png", "label": ""}],
        "validation": [{"image": "3.png", "label": "clean3.png"}],
    }
    path = make_list(content, ".json")

    assert names(split_datalist(path, 1)) == [["1", "2"], ["3"]]
    with pytest.raises(DatasetError, match=r"list\.json, training 2: no label"):
        split_datalist(path, 1, keys=["image", "label"])


def test_evaluation_scores_what_training_by_the_list_holds_out(make_list):
    path = make_list("image,label\n" + "".join(f"{n}.png,clean{n}.png\n" for n in range(1, 6)))

    (_, validation) = hold_out(path, 2)

    assert names([validation]) == names([split_datalist(path, 2)[1]]) == [["4", "5"]]
    assert [item["label"][-10:] for item in validation] == ["clean4.png", "clean5.png"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file\n1.png\n", r"list\.csv, row 1: no column 'image'; need image, label, patient"),
        ("image\n1.png\n9.png\n", r"list\.csv, row 3: .*9\.png: no such file"),
        ("image,patient\n1.png,a\n,b\n", r"list\.csv, row 3: no image"),
        ("image,fold\n1.png,0\n2.png,x\n", r"list\.csv, row 3: its fold is 'x'; need a whole"),
        ("image,fold\n1.png,0\n2.png,\n", r"list\.csv, row 3: no fold; need one for each row"),
        ("image\n1.png\n./1.png\n", r"list\.csv, row 3: the same image as .*list\.csv, row 2"),
        ("image,patient,fold\n1.png,SECRET,0\n2.png,SECRET,1\n",
         r"list\.csv, row 3: fold 1, and fold 0 for the same patient in .*list\.csv, row 2"),
        ("image\n", r"list\.csv: no images in this list"),
    ],
)  # fmt: skip
def test_row_that_is_wrong_is_named_and_no_patient(make_list, text, message):
    with pytest.raises(DatasetError, match=message) as error:
        split_datalist(make_list(text), 1, fold=0)
    assert "SECRET" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"list\.json: cannot be read as a list of images: Expecting"),
        ({"test": []}, r"list\.json: no list 'training'; need MONAI's datalist"),
        ({"training": ["1.png"]}, r"list\.json, training 1: need an item with 'image'"),
    ],
)
def test_json_that_is_no_datalist_is_refused(make_list, content, message):
    with pytest.raises(DatasetError, match=message):
        split_datalist(make_list(content, ".json"), 1)


@pytest.mark.parametrize(
    ("name", "message"), [("a.txt", "need .csv or .json"), ("b.csv", "No such")]
)
def test_other_files_are_no_lists(tmp_path, name, message):
    with pytest.raises(DatasetError, match=message):
        split_datalist(str(tmp_path / name), 1)
