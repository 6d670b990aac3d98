"""Hold-outs, folds and groups: what is in which split, and what is refused."""

import itertools
import warnings

import numpy as np
import pytest

from kzoo.data.audio import Recordings
from kzoo.data.holdout import HoldOut, complete, limited
from kzoo.data.splits import Examples, RawData
from kzoo.tasks import Tagging


def raw_data(labels, groups=None, test=None, names=None) -> RawData:
    """Return examples whose inputs are their indices."""
    labels = np.asarray(labels, "int32")
    train = Examples(np.arange(len(labels)), labels)
    return RawData(train, None, test, names or tuple(f"class {n}" for n in range(labels.max() + 1)), groups)


def divided(raw: RawData, **how) -> dict[str, list[int]]:
    """Return the indices of each split."""
    return {split: part.inputs.tolist() for split, part in complete(raw, HoldOut(**how)).items()}


HUNDRED = np.arange(100) % 4
PATIENTS = np.array([f"p{n // 5}" for n in range(100)])  # 20, each with five examples of several classes
TWO_WARDS = np.where(HUNDRED < 2, HUNDRED, np.arange(100) // 50)  # each has one class for itself


class TestFractions:
    def test_validation_and_test_have_their_own(self):
        splits = divided(raw_data(HUNDRED), validation=0.1, test=0.3)
        assert {split: len(part) for split, part in splits.items()} == {"train": 63, "validation": 7, "test": 30}
        assert sorted(itertools.chain(*splits.values())) == list(range(100))

    def test_no_test_split_at_all(self):
        splits = divided(raw_data(HUNDRED), validation=0.2, test=0)
        assert {split: len(part) for split, part in splits.items()} == {"train": 80, "validation": 20}

    def test_a_missing_split_is_explained(self):
        with pytest.raises(ValueError, match="there is no test split, only train and validation; hold one out: test=0"):
            complete(raw_data(HUNDRED), HoldOut(test=0))["test"]

    def test_no_validation_but_a_test_split(self):
        splits = divided(raw_data(HUNDRED), validation=0, test=0.2)
        assert splits["train"] == splits["validation"]
        assert len(splits["test"]) == 20

    def test_without_regard_to_classes(self):
        raw = raw_data([0] * 19 + [1])
        with pytest.raises(ValueError, match="each class needs 2 examples, fewer are of 'class 1'; stratify=False"):
            complete(raw, HoldOut())
        assert len(divided(raw, stratify=False)["test"]) == 2

    def test_a_test_split_is_not_replaced(self):
        raw = raw_data(HUNDRED, test=Examples(np.arange(4), np.arange(4)))
        with pytest.raises(ValueError, match="has a test split of its own; leave out test=0.2"):
            complete(raw, HoldOut(test=0.2))

    def test_at_most_five_classes_are_named(self):
        raw = raw_data(np.arange(100_000))
        expected = "fewer are of 'class 0', 'class 1', .*, 'class 4' and 99995 more; stratify=False"
        with pytest.raises(ValueError, match=expected) as refused:
            complete(raw, HoldOut())
        assert len(str(refused.value)) < 300

    def test_too_few_to_be_of_all_classes(self):
        raw = raw_data(np.arange(20) % 10)
        with pytest.raises(ValueError, match="cannot hold out 0.1 of 20 .* for test: 2 examples cannot be of all 10"):
            complete(raw, HoldOut())
        with pytest.raises(ValueError, match="cannot take 5 of 20 training examples: 5 examples cannot be of all 10"):
            limited({"train": raw.train}, 5, raw.asked)

    @pytest.mark.parametrize("wrong", [1, 1.5, -0.1, True, "x"])
    def test_a_fraction_out_of_range(self, wrong):
        with pytest.raises(ValueError, match="the test fraction must lie between 0 and 1"):
            HoldOut(test=wrong)


class TestFolds:
    @pytest.mark.parametrize("groups", [None, PATIENTS])
    @pytest.mark.parametrize("stratify", [True, False])
    @pytest.mark.filterwarnings("ignore:each of the")
    def test_they_are_a_partition(self, stratify, groups):
        raw = raw_data(HUNDRED, groups)
        tests = [divided(raw, fold=(number, 5), stratify=stratify)["test"] for number in range(5)]
        assert sorted(itertools.chain(*tests)) == list(range(100))
        assert [len(part) for part in tests] == [20] * 5
        if groups is not None:
            assert all(len(set(groups[part])) == 4 for part in tests)
        elif stratify:
            assert all(np.bincount(HUNDRED[part]).tolist() == [5] * 4 for part in tests)

    def test_beside_a_test_split_the_fold_is_the_validation_split(self):
        raw = raw_data(HUNDRED, test=Examples(np.arange(4), np.arange(4)))
        parts = [divided(raw, fold=[number, 4])["validation"] for number in range(4)]
        assert sorted(itertools.chain(*parts)) == list(range(100))
        assert divided(raw_data(HUNDRED), fold=[1, 4], test=0) == {
            "train": sorted(set(range(100)) - set(parts[1])),
            "validation": parts[1],
        }

    @pytest.mark.parametrize(
        "how, message",
        [
            ({"fold": 3}, r"fold must be \(number, folds\), e.g. \(0, 10\), got 3"),
            ({"fold": (5, 5)}, r"0 <= number < folds, got \(5, 5\)"),
            ({"fold": (0, 30)}, "each class needs 30 examples, fewer are of 'class 0', 'class 1'"),
        ],
    )
    def test_mistakes_are_explained(self, how, message):
        with pytest.raises(ValueError, match=message):
            complete(raw_data(HUNDRED), HoldOut(**how))


class TestGroups:
    @pytest.mark.parametrize("stratify", [True, False])
    def test_no_group_is_on_two_sides(self, stratify):
        with pytest.warns(UserWarning, match="each of the 20 groups is in one split, 2 for test and 2 for validation"):
            splits = divided(raw_data(HUNDRED, PATIENTS), stratify=stratify)
        groups = [set(PATIENTS[part]) for part in splits.values()]
        assert sum(map(len, groups)) == len(set.union(*groups)) == 20

    @pytest.mark.filterwarnings("ignore:each of the")
    def test_very_many_groups(self):
        groups = np.arange(6000) // 3
        splits = divided(raw_data(np.arange(6000) % 2, groups))
        found = [set(groups[part]) for part in splits.values()]
        assert [len(part) for part in found] == [1620, 180, 200]
        assert len(set.union(*found)) == 2000

    def test_they_may_be_ignored(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert divided(raw_data(HUNDRED, PATIENTS), grouped=False) == divided(raw_data(HUNDRED))

    def test_speakers_of_recordings_are_kept_apart(self):
        speakers = np.array(["ann", "bob", "eve", "joe"])[np.arange(100) // 2 % 4]
        people = Recordings(np.zeros((100, 8), "int16"), HUNDRED % 2, 8000, groups=speakers)
        raw = raw_data(HUNDRED % 2)._replace(train=people)
        with pytest.warns(UserWarning, match="each of the 4 groups"):
            splits = complete(raw, HoldOut())
        found = [set(part.groups) for part in splits.values()]
        assert sorted(map(len, found)) == [1, 1, 2]
        assert len(set.union(*found)) == 4

    @pytest.mark.parametrize("groups", [["ann"] * 100, HUNDRED])
    def test_where_each_class_is_of_one_group_they_are_divided(self, groups):
        with pytest.warns(UserWarning, match="each class is of one group alone"):
            assert divided(raw_data(HUNDRED, np.asarray(groups))) == divided(raw_data(HUNDRED))

    def test_groups_that_the_dataset_itself_divides_are_named(self):
        people = Recordings(np.zeros((8, 8), "int16"), np.arange(8) % 2, 8000, groups=np.array(["ann", "bob"] * 4))
        raw = RawData(people, people.take(np.array([0])), people.take(np.array([1, 2])), ("a", "b"))
        with pytest.warns(UserWarning, match="2 groups of the train split are in the test split, too: 'ann', 'bob'"):
            complete(raw, HoldOut())

    @pytest.mark.parametrize(
        "groups, how, message",
        [
            (["ann"] * 50 + ["bob"] * 50, {}, "for validation: all are of one group, 'ann'; group=False divides"),
            (TWO_WARDS, {}, "without their groups no training examples of 'class .' are left; group=False"),
            (PATIENTS, {"fold": (0, 30)}, "cannot make 30 folds: there are 20 groups, 'p0', 'p1'"),
        ],
    )
    def test_mistakes_are_explained(self, groups, how, message):
        with pytest.raises(ValueError, match=message):
            complete(raw_data(HUNDRED, np.asarray(groups)), HoldOut(**how))


class TestTags:
    RARE = np.array([0.4, 0.2, 0.05, 0.02])

    def tags(self) -> np.ndarray:
        """Return rows of 0 and 1 of frequent and of rare tags, some without any."""
        return (np.random.default_rng(0).random((500, 4)) < self.RARE).astype("float32")

    def raw(self, tags) -> RawData:
        task = Tagging(tuple(f"tag {n}" for n in range(tags.shape[1])))
        return RawData(Examples(np.arange(len(tags)), tags), None, None, task.names, task=task)

    def test_each_tag_is_divided_in_its_proportion(self):
        tags = self.tags()
        splits = divided(self.raw(tags), validation=0.1, test=0.3)
        assert sorted(itertools.chain(*splits.values())) == list(range(500))
        for split, fraction in (("train", 0.63), ("validation", 0.07), ("test", 0.3)):
            assert len(splits[split]) == pytest.approx(fraction * 500, abs=4)
            np.testing.assert_allclose(tags[splits[split]].sum(axis=0), fraction * tags.sum(axis=0), atol=1.5)

    def test_at_random_rare_tags_are_not(self):
        tags = self.tags()
        splits = divided(self.raw(tags), validation=0.1, test=0.3, stratify=False)
        assert np.abs(tags[splits["test"]].sum(axis=0) - 0.3 * tags.sum(axis=0)).max() > 3

    def test_folds_hold_every_example_once(self):
        tags = self.tags()
        folds = [divided(self.raw(tags), validation=0, fold=(number, 5))["test"] for number in range(5)]
        assert sorted(itertools.chain(*folds)) == list(range(500))
        for fold in folds:
            np.testing.assert_allclose(tags[fold].sum(axis=0), tags.sum(axis=0) / 5, atol=1.5)
        with pytest.raises(ValueError, match="cannot make 9 folds: there are 5 examples"):
            divided(self.raw(tags[:5]), fold=(0, 9))

    def test_a_tag_of_one_example_is_left_to_training(self):
        tags = np.zeros((40, 2))
        tags[::2, 0] = tags[17, 1] = 1
        assert 17 in divided(self.raw(tags), validation=0.1, test=0.2)["train"]

    def test_few_examples_are_divided_at_random(self):
        splits = divided(self.raw(np.eye(4)[[0, 0, 0]]), validation=0.1, test=0)
        assert {split: len(part) for split, part in splits.items()} == {"train": 2, "validation": 1}

    def test_a_limit_keeps_the_proportions(self):
        tags = self.tags()
        raw = self.raw(tags)
        kept = limited({"train": raw.train}, 100, raw.task)["train"].inputs
        assert 96 <= len(kept) <= 100
        np.testing.assert_allclose(tags[kept].sum(axis=0), tags.sum(axis=0) / 5, atol=2.5)

    def test_the_same_examples_every_time(self):
        assert divided(self.raw(self.tags())) == divided(self.raw(self.tags()))
