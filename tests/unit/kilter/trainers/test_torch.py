"""What the network learns, how it stops, and what it does with what it never saw."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from kilter.encoding import Signature
from kilter.errors import DataError, DivergedError, InputError
from kilter.spec import Feature, Task, Training
from kilter.trainers import Loss, Part, Trained, TrainingRun, evenly
from kilter.trainers.checkpoints import Checkpoint, from_safetensors
from kilter.trainers.fit import Fit
from kilter.trainers.network import Scorer
from kilter.trainers.normalisation import Normalisation
from kilter.trainers.torch import ONNX_FILE, WEIGHTS_FILE, _parameters, load, train

SMALL: dict[str, Any] = {"width": 16, "depth": 1, "batch_rows": 100, "learning_rate": 0.01, "dropout": 0.0}
NUMBER, LETTER = Feature(name="x"), Feature(name="y", kind="categorical", categories=("a", "b", "c"))


def of(task: Task, *classes: str, features: tuple[Feature, ...] = (NUMBER, LETTER)) -> Signature:
    return Signature(entity="id", timestamp="at", features=features, task=task, classes=classes)


def run(signature: Signature, loss: Loss, **given: Any) -> TrainingRun:
    """A small training; `given` are of `Training`, of `TrainingRun`, or else of the network."""
    training = {key: given.pop(key) for key in ("rounds", "early_stopping", "seed") if key in given}
    told = {key: given.pop(key) for key in ("log", "checkpoints", "on_round") if key in given}
    training = {"rounds": 10, "early_stopping": 10, **training}
    return TrainingRun(signature, Training(trainer="torch", parameters=SMALL | given, **training), loss, **told)


def halves(rows: np.ndarray, labels: np.ndarray) -> tuple[Part, Part]:
    middle = len(rows) // 2
    return Part(rows[:middle], labels[:middle]), Part(rows[middle:], labels[middle:])


def drawn(count: int = 1200, seed: int = 3) -> np.ndarray:
    """Numbers of 0 to 1, and one of two of the three letters."""
    random = np.random.default_rng(seed)
    return np.column_stack([random.random(count), random.integers(0, 2, count)]).astype(np.float32)


def of_two(count: int = 1200) -> tuple[Part, Part]:
    """1 where the number and the letter agree."""
    rows = drawn(count)
    return halves(rows, ((rows[:, 0] > 0.5) == (rows[:, 1] == 1)).astype(float))


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(*of_two(), run(of("binary"), "log_loss"))


def test_of_two_classes_the_probability_of_1_is_learned(trained: Trained) -> None:
    _, unseen = of_two()
    scores = load(trained.files).predict(unseen.rows)
    assert scores.shape == (600,)
    assert ((scores > 0.5) == unseen.labels).mean() > 0.95


def test_every_class_has_a_probability_also_one_that_no_row_has() -> None:
    rows = drawn()
    parts = halves(rows, np.where(rows[:, 0] < 0.5, 0.0, 2.0))
    scores = load(train(*parts, run(of("multiclass", "low", "never", "high"), "log_loss")).files).predict(rows)
    assert scores.shape == (1200, 3)
    assert scores.sum(axis=1) == pytest.approx(np.ones(1200), abs=1e-5)
    assert (scores.argmax(axis=1) == parts[0].labels[0]).any()
    assert (scores.argmax(axis=1) == np.where(rows[:, 0] < 0.5, 0, 2)).mean() > 0.97
    assert 0 < scores[:, 1].max() < 0.05


def test_a_number_is_predicted_in_its_own_unit() -> None:
    rows = drawn()
    labels = 500 + 100 * rows[:, 0].astype(float)
    made = train(*halves(rows, labels), run(of("regression"), "rmse", rounds=20))
    assert load(made.files).predict(rows) == pytest.approx(labels, abs=10)
    assert made.losses[-1] < 4


def test_a_squared_error_leads_to_the_mean_and_an_absolute_one_to_the_median() -> None:
    """Of an exponential distribution of scale 10 these are 10 and 10 ln 2 = 6.9."""
    random = np.random.default_rng(5)
    parts = halves(np.zeros((4000, 2), np.float32), random.exponential(10, 4000))
    rmse, mae = (load(train(*parts, run(of("regression"), loss)).files) for loss in ("rmse", "mae"))
    assert rmse.predict(parts[0].rows).mean() == pytest.approx(10, abs=0.6)
    assert mae.predict(parts[0].rows).mean() == pytest.approx(6.9, abs=0.6)


def test_equal_input_and_seed_give_equal_bytes_and_another_seed_others(trained: Trained) -> None:
    torch.rand(7)
    assert train(*of_two(), run(of("binary"), "log_loss")).files == trained.files
    assert train(*of_two(), run(of("binary"), "log_loss", seed=1)).files != trained.files


def test_the_losses_are_those_of_the_graph_and_the_best_epoch_is_kept() -> None:
    random = np.random.default_rng(2)
    rows = drawn(400)
    parts = halves(rows, (rows[:, 0] + random.normal(scale=0.5, size=400) > 0.5).astype(float))
    heard: list[tuple[int, float]] = []
    told = run(
        of("binary"), "log_loss", rounds=60, early_stopping=4, width=64, on_round=lambda *point: heard.append(point)
    )
    made = train(*parts, told)
    assert len(made.losses) == made.rounds + 4 < 60
    assert min(made.losses) == made.losses[made.rounds - 1]
    scores = load(made.files).predict(parts[1].rows)
    log_loss = -np.log(np.where(parts[1].labels == 1, scores, 1 - scores)).mean()
    assert made.losses[made.rounds - 1] == pytest.approx(log_loss, abs=1e-5)
    assert heard == list(enumerate(made.losses))


def test_a_category_that_training_never_saw_scores_as_a_missing_one(trained: Trained) -> None:
    """`c` is listed, and no train row has it."""
    network = load(trained.files)
    listed, missing = (network.predict(np.array([[0.9, code]], np.float32)) for code in (2, np.nan))
    assert listed == missing
    assert 0 < missing[0] < 1
    assert missing != network.predict(np.array([[0.9, 1]], np.float32))


def test_the_score_of_an_unknown_category_is_learned() -> None:
    """Where the letter tells nothing, one that is unknown changes nothing."""
    rows = drawn(4000)
    made = train(*halves(rows, (rows[:, 0] > 0.5).astype(float)), run(of("binary"), "log_loss", rounds=15))
    scores = load(made.files).predict(np.array([[0.2, np.nan], [0.8, np.nan]], np.float32))
    assert scores[0] < 0.1
    assert scores[1] > 0.9


def test_a_column_without_a_value_in_training_contributes_nothing_when_it_has_some() -> None:
    signature = of("binary", features=(NUMBER, Feature(name="empty")))
    rows = np.column_stack([drawn()[:, 0], np.full(1200, np.nan)]).astype(np.float32)
    made = train(*halves(rows, (rows[:, 0] > 0.5).astype(float)), run(signature, "log_loss"))
    network = load(made.files)
    filled = rows.copy()
    filled[:, 1] = np.linspace(-1e30, 1e30, 1200)
    assert (network.predict(filled) == network.predict(rows)).all()
    assert network.importance().keys() == {"x"}


def test_a_value_that_is_missing_tells_something_of_its_own() -> None:
    signature = of("binary", features=(NUMBER,))
    rows = drawn()[:, :1]
    labels = np.random.default_rng(8).integers(0, 2, 1200).astype(float)
    rows[labels == 1] = np.nan
    scores = load(train(*halves(rows, labels), run(signature, "log_loss")).files).predict(rows)
    assert ((scores > 0.5) == labels).all()


@pytest.mark.parametrize("value", [3e38, -3e38, 1e-38, 0.0, np.nan])
def test_every_number_of_float32_has_a_finite_score(trained: Trained, value: float) -> None:
    assert np.isfinite(load(trained.files).predict(np.full((2, 2), [value, 0], np.float32))).all()


def test_one_value_alone_is_no_spread_and_does_no_harm() -> None:
    rows = drawn()
    rows[:, 0] = 7
    made = train(*halves(rows, rows[:, 1].astype(float)), run(of("binary"), "log_loss"))
    assert ((load(made.files).predict(rows) > 0.5) == rows[:, 1]).all()


def test_the_graph_scores_as_torch_does_and_the_weights_are_those_of_the_graph(trained: Trained) -> None:
    signature, told = of("binary"), run(of("binary"), "log_loss")
    parameters = _parameters(told)
    normalisation = Normalisation.of(of_two()[0], signature, "log_loss", parameters.bins)
    scorer = Scorer(Fit(*of_two(), normalisation, parameters, told).network, signature, normalisation).eval()
    weights = from_safetensors(trained.files[WEIGHTS_FILE], "weights").tensors
    scorer.load_state_dict({name: torch.tensor(value) for name, value in weights.items()})
    rows = np.vstack([of_two()[1].rows, np.full((1, 2), np.nan, np.float32)])
    with torch.no_grad():
        expected = scorer(torch.from_numpy(rows)).numpy()
    assert load(trained.files).predict(rows) == pytest.approx(expected, abs=1e-5)


def test_a_graph_that_scores_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kilter.trainers.graph.TOLERANCE", 0.0)
    with pytest.raises(DataError, match=r"model.onnx: its scores of 600 rows differ from torch's by up to"):
        train(*of_two(), run(of("binary"), "log_loss", rounds=1))


def test_what_a_feature_contributes_is_what_the_model_loses_without_it() -> None:
    rows = drawn()
    made = train(*halves(rows, (rows[:, 0] > 0.5).astype(float)), run(of("binary"), "log_loss"))
    importance = load(made.files).importance()
    assert importance["x"] > 0.95
    assert sum(importance.values()) == pytest.approx(1, abs=1e-5)


def test_labels_that_are_no_numbers_stop_the_training_with_batch_and_epoch() -> None:
    learned, validation = of_two()
    learned.labels[450] = np.nan
    with pytest.raises(DivergedError, match=r"the loss is nan in batch \d of epoch 0, and .*learning_rate, now 0.01"):
        train(learned, validation, run(of("regression"), "mae"))


def test_a_loss_that_grows_beyond_all_measure_stops_the_training() -> None:
    rows = drawn()
    parts = halves(rows, rows[:, 0].astype(float))
    said = r"the loss is \d\S+ on average up to batch 5 of epoch \d, and 0\.\d+ without any training"
    with pytest.raises(DivergedError, match=said):
        train(*parts, run(of("regression"), "rmse", learning_rate=1.0, weight_decay=10.0))


def test_a_class_of_one_row_in_two_thousand_is_no_divergence() -> None:
    rows, labels = drawn(8000), np.zeros(8000)
    labels[[100, 2100, 4100, 6100]] = 1
    made = train(*halves(rows, labels), run(of("binary"), "log_loss", batch_rows=16, rounds=2))
    assert len(made.losses) == 2
    assert made.losses[-1] < 0.02


@pytest.mark.parametrize("loss", ["rmse", "mae"])
def test_an_outlier_that_the_sample_misses_is_no_divergence(loss: Loss, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kilter.trainers.normalisation.SAMPLE_ROWS", 60)
    learned, validation = halves(drawn(), drawn()[:, 0].astype(float))
    learned.labels[333] = 1e6
    told = run(of("regression"), loss)
    assert Normalisation.of(learned, told.signature, loss, 4).guess < 1
    assert train(learned, validation, told).losses[-1] < 0.3


def test_a_sample_of_rows_that_alternate_between_entities_has_rows_of_each_in_every_stretch() -> None:
    place = np.arange(10_000)
    rows = np.column_stack([place % 10, place]).astype(np.float32)
    sample = evenly(Part(rows, place.astype(float)), 1000)
    assert len(sample) == 1000
    assert (np.bincount(sample.rows[:, 0].astype(int), minlength=10) > 60).all()
    assert (sample.labels // 10 == np.arange(1000)).all()
    pieces = evenly(Pieces(Part(rows, place.astype(float))), 1000)
    np.testing.assert_array_equal(pieces.rows, sample.rows)


@pytest.mark.parametrize(("count", "most", "expected"), [(7, 7, 7), (8, 7, 4), (1, 100, 1)])
def test_a_sample_is_never_larger_than_asked_for(count: int, most: int, expected: int) -> None:
    assert len(evenly(Part(drawn(count), np.zeros(count)), most)) == expected


def test_a_value_that_only_rows_beside_the_sample_have_counts_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kilter.trainers.normalisation.SAMPLE_ROWS", 60)
    signature, rows = of("binary", features=(NUMBER,)), np.full((1200, 1), np.nan, np.float32)
    learned = Part(rows, np.arange(1200) % 2.0)
    assert not Normalisation.of(learned, signature, "log_loss", 4).known.any()
    rows[333] = 5
    found = Normalisation.of(learned, signature, "log_loss", 4)
    assert found.known.all()
    assert np.isfinite(found.edges).all()


def test_a_model_of_categories_alone_is_trained_and_loaded() -> None:
    signature = of("binary", features=(LETTER,))
    rows = drawn()[:, 1:]
    scores = load(train(*halves(rows, rows[:, 0].astype(float)), run(signature, "log_loss")).files).predict(rows)
    assert ((scores > 0.5) == rows[:, 0]).all()


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (
            {"widht": 32},
            r"training.parameters of trainer torch: there is no 'widht' \(got 32\); allowed are width, depth",
        ),
        ({"width": "32"}, r"width: Input should be a valid integer \(got '32'\)"),
        ({"dropout": 1.0}, r"dropout: Input should be less than 1 \(got 1.0\)"),
        ({"depth": True}, r"depth: Input should be a valid integer"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(parameters: dict[str, Any], said: str) -> None:
    told = run(of("binary"), "log_loss")
    told.training.parameters.clear()
    told.training.parameters.update(parameters)
    with pytest.raises(InputError, match=said):
        train(*of_two(), told)


@pytest.mark.parametrize("name", [ONNX_FILE, WEIGHTS_FILE])
def test_files_without_one_of_the_two_are_refused_by_name(trained: Trained, name: str) -> None:
    files = {key: value for key, value in trained.files.items() if key != name}
    with pytest.raises(DataError, match=rf"no file '{name}' among model\.\w+: train the model again"):
        load(files)


def test_bytes_that_are_no_model_are_refused(trained: Trained) -> None:
    with pytest.raises(DataError, match=r"model.onnx is no ONNX model"):
        load(trained.files | {ONNX_FILE: b"\x80\x04pickle"})
    with pytest.raises(DataError, match=r"model.safetensors is no safetensors file that Kilter wrote"):
        load(trained.files | {WEIGHTS_FILE: b"\x80\x04pickle"})


class Kept:
    """Checkpoints in memory; a training that is given one begins with it."""

    def __init__(self, found: Checkpoint | None = None) -> None:
        self.found = found
        self.saved: list[Checkpoint] = []

    def load(self) -> Checkpoint | None:
        return self.found

    def save(self, checkpoint: Checkpoint) -> None:
        self.saved.append(checkpoint)


@pytest.mark.parametrize("epoch", [1, 4, 9])
def test_from_any_epoch_on_it_ends_with_the_bytes_of_a_training_that_nobody_disturbed(
    epoch: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("kilter.trainers.torch.CHECKPOINT_SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    first, again = Kept(), Kept()
    whole = train(*of_two(), run(of("binary"), "log_loss", dropout=0.3, checkpoints=first))
    assert [kept.facts["epoch"] for kept in first.saved] == list(range(1, 10))
    again.found = first.saved[epoch - 1]
    assert train(*of_two(), run(of("binary"), "log_loss", dropout=0.3, checkpoints=again)) == whole
    assert f"resumed at epoch {epoch} from a checkpoint" in caplog.text


def test_short_epochs_are_not_each_told_of(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    train(*of_two(), run(of("binary"), "log_loss", rounds=30, early_stopping=30))
    told = [line for line in caplog.messages if line.startswith("epoch ")]
    assert 2 <= len(told) <= 6
    assert told[-1].startswith("epoch 29: log_loss 0.")


class Pieces:
    """Rows in pieces of 100; remembers in which order they were asked for."""

    def __init__(self, part: Part) -> None:
        self.part = part
        self.orders: list[list[int]] = []

    def __len__(self) -> int:
        return len(self.part)

    @property
    def count(self) -> int:
        return len(self.part) // 100

    def pieces(self, order: Iterable[int] | None = None) -> Iterator[Part]:
        places = list(range(self.count) if order is None else order)
        self.orders.append(places)
        for place in places:
            yield Part(*(item[100 * place : 100 * place + 100] for item in (self.part.rows, self.part.labels)))


def test_rows_that_do_not_fit_are_read_anew_each_epoch_in_another_order_and_are_learned_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    learned, validation = of_two()
    told = run(of("binary"), "log_loss")
    monkeypatch.setattr("kilter.trainers.windows.MOST_BYTES", 4000)
    pieces = Pieces(learned)
    made = train(pieces, Pieces(validation), told)
    epochs = pieces.orders[-10:]
    assert all(sorted(order) == [0, 1, 2, 3, 4, 5] for order in epochs)
    assert len({tuple(order) for order in epochs}) > 5
    assert ((load(made.files).predict(validation.rows) > 0.5) == validation.labels).mean() > 0.95
    assert train(Pieces(learned), Pieces(validation), told).files == made.files


def test_rows_that_fit_are_read_once_however_many_pieces_they_come_in(trained: Trained) -> None:
    learned, validation = of_two()
    pieces = Pieces(learned)
    assert train(pieces, validation, run(of("binary"), "log_loss")).files == trained.files
    assert len(pieces.orders) == 3  # the sample, the categories, and all that is held
