"""Gate check: the same rows scored by the training code, with the online store's features, and by the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kilter.errors import UnavailableError
from kilter.gate_check import Outputs as Outputs
from kilter.gate_check import ServerInputs as ServerInputs
from kilter.step import StepContext, StepInfo

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pandas as pd

    from kilter.core.gate.prediction_parity import Online, Probes, Row, Served
    from kilter.core.verdict import Judgement
    from kilter.holdout import Facts, Holdout
    from kilter.scores import Scores
    from kilter.spec import ModelSpec
    from kilter.stores.models import Model
    from kilter.trial import TrialServer

    Mask = npt.NDArray[np.bool_]

STEP = StepInfo(
    stores=frozenset({"objects", "features"}),
    reads=("gate", "entity", "timestamp", "label", "features", "serving", "training"),
    memoised=False,
)
Inputs = ServerInputs


def run(inputs: ServerInputs, context: StepContext) -> Outputs:
    """Take what was put online last, score it in three ways, and judge the differences.

    With nothing online yet the server is asked about the newest rows of the holdout.
    """
    from kilter.holdout import read_holdout
    from kilter.trial import TrialServer

    holdout = read_holdout(context.objects, inputs.holdout, context.spec)
    with TrialServer(inputs.endpoint, context.spec.name) as server:
        judgement = _judge(server, holdout, context)
    context.log.info("%s: %s", judgement.verdict, judgement.reason)
    return Outputs(judgement=judgement)


def _judge(server: TrialServer, holdout: Holdout, context: StepContext) -> Judgement:
    import numpy as np

    from kilter.core.gate.prediction_parity import Online, judge
    from kilter.stores.models import load_model

    wanted = context.spec.gate.prediction_parity
    model = load_model(context.objects, holdout.facts.model)
    asked = _newest(context)
    if asked.empty:
        rows = holdout.frame.tail(wanted.rows).reset_index(drop=True)
        whole = np.zeros(len(rows), dtype=bool)
        return judge(
            Online(rows=0), _served(rows, whole, model, server, holdout.facts, context), wanted, model.signature.task
        )
    offline = context.features.historical(asked)
    there, online = _online(offline, model, context)
    return judge(online, _served(offline, there, model, server, holdout.facts, context), wanted, model.signature.task)


def _newest(context: StepContext) -> pd.DataFrame:
    """Entity and event time of rows that `materialize` put online last: the newest of each entity, a sample of them."""
    import pandas as pd

    from kilter.keys import interval_key, parse_span
    from kilter.stores.parquet import from_parquet

    spec = context.spec
    keys = [spec.entity, spec.timestamp]
    spans = [parse_span(key) for key in context.objects.list(f"intervals/{spec.name}/")]
    # An interval's record is written before its features.
    spans = [span for span in spans if context.objects.exists(interval_key("features", spec.name, span[0]))]
    if not spans:
        return pd.DataFrame(columns=keys)
    start, end = max(spans)
    key = interval_key("features", spec.name, start)
    rows = from_parquet(context.objects.get(key), key).select(keys).to_pandas()
    inside = rows[spec.timestamp].between(max(start, end - spec.features.online), end, inclusive="left")
    newest = rows[inside].sort_values(keys).drop_duplicates(spec.entity, keep="last")
    wanted = min(len(newest), spec.gate.prediction_parity.rows)
    return newest.sample(wanted, random_state=context.seed).sort_values(keys).reset_index(drop=True)


def _online(offline: pd.DataFrame, model: Model, context: StepContext) -> tuple[Mask, Online]:
    """Compare feature by feature as the model sees them, then score by score; also tell which rows are online."""
    import numpy as np

    from kilter.core.gate.prediction_parity import Online, OnlineCell, differing_cells
    from kilter.stores.models import encode_frame

    spec = context.spec
    online = context.features.online(offline[spec.entity].tolist())
    # Feast tells event times to the second.
    wanted, found = offline[spec.timestamp].dt.floor("s"), online[spec.timestamp]
    newer = (found > wanted).to_numpy()
    behind = (found.isna() | (found < wanted)).to_numpy()
    there = ~(newer | behind)
    cells = differing_cells(encode_frame(offline, model.signature), encode_frame(online, model.signature))
    cells &= there[:, np.newaxis]
    first = None
    if (wrong := np.flatnonzero(behind | cells.any(axis=1))).size:
        place = int(wrong[0])
        column = spec.timestamp if behind[place] else model.signature.names[int(cells[place].argmax())]
        first = OnlineCell(
            row=_row(offline, place, context),
            column=column,
            offline=_shown(offline[column].iloc[place]),
            online=_shown(online[column].iloc[place]),
        )
    return there, Online(
        rows=len(offline),
        newer=int(newer.sum()),
        behind=int(behind.sum()),
        differing=int(cells.any(axis=1).sum()),
        largest=_largest(model, offline[there], online[there]) if there.any() else float("nan"),
        first=first,
    )


def _served(
    offline: pd.DataFrame, online: Mask, model: Model, server: TrialServer, facts: Facts, context: StepContext
) -> Served:
    """Compare the server's scores; of the first row that differs, find the feature that is handled otherwise.

    Rows that are online are sent as clients send them, without what the server looks up.
    """
    import numpy as np

    from kilter.core.gate.prediction_parity import Served, differences, unit_of

    spec = context.spec
    waited = server.wait(facts.digest, spec.gate.serving_fitness.ready_within)
    if not waited.ready:
        return Served(rows=len(offline), silent=f"not ready: {waited.last_words}")
    own = _own(model, offline)
    unit = unit_of(own, model.signature.task)
    left_out = online & bool(spec.looked_up)
    try:
        answered = _answered(offline, left_out, model, server, spec)
        apart = differences(own, answered, unit)
        wrong = np.flatnonzero(~(apart <= spec.gate.prediction_parity.tolerance))
        served = Served(rows=len(offline), differing=len(wrong), largest=float(apart.max()))
        if not wrong.size:
            return served
        place = int(wrong[0])
        allowed = spec.gate.prediction_parity.tolerance * unit
        features = _blamed(offline.iloc[[place]], bool(left_out[place]), allowed, model, server, spec)
    except UnavailableError as error:
        return Served(rows=len(offline), silent=str(error))
    except ValueError as error:
        return Served(rows=len(offline), refused=str(error))
    number = int(np.abs(own[place] - answered[place]).argmax())
    return served.model_copy(
        update={
            "first": _row(offline, place, context),
            "own": float(own[place, number]),
            "answered": float(answered[place, number]),
            "features": features,
        }
    )


def _answered(rows: pd.DataFrame, left_out: Mask, model: Model, server: TrialServer, spec: ModelSpec) -> Scores:
    """The server's scores; rows of `left_out` are sent without what the server looks up."""
    import numpy as np

    answered = np.empty((len(rows), max(1, len(model.signature.classes))))
    for part, (sent, names) in ((~left_out, (rows, model.signature.names)), (left_out, _as_sent(rows, spec))):
        if part.any():
            answered[part] = _ask(server, sent[part], names, model)
    return answered


def _as_sent(rows: pd.DataFrame, spec: ModelSpec) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Rows as clients send them, and their columns: the keys, and the features that are not looked up."""
    carried = [name for name in spec.features.names if name not in spec.looked_up]
    times = rows[spec.timestamp].map(lambda time: time.isoformat())
    return rows.assign(**{spec.timestamp: times}), (spec.entity, spec.timestamp, *carried)


def _blamed(
    row: pd.DataFrame, left_out: bool, allowed: float, model: Model, server: TrialServer, spec: ModelSpec
) -> tuple[str, ...]:
    """The features of a row that the server handles otherwise; those it looks up where it is right once sent them."""
    import numpy as np

    from kilter.core.gate.prediction_parity import handled_otherwise

    names = model.signature.names
    if left_out and np.abs(_ask(server, row, names, model) - _own(model, row)).max() <= allowed:
        return spec.looked_up
    variants = _variants(row, names)
    own, answered = _probes(_own(model, variants)), _probes(_ask(server, variants, names, model))
    return tuple(names[feature] for feature in handled_otherwise(own, answered, allowed))


def _ask(server: TrialServer, rows: pd.DataFrame, names: tuple[str, ...], model: Model) -> Scores:
    """The server's scores, shape (rows, numbers of a score).

    Raises:
        ValueError: it refused the rows, or answered something else than scores.
        UnavailableError: it ended, or took too long.
    """
    import numpy as np

    from kilter.trial import BATCH, body_of, scores_of

    scores = []
    for start in range(0, len(rows), BATCH):
        batch = rows.iloc[start : start + BATCH]
        answer = server.post(body_of(batch, names))
        if answer.status_code != 200:
            raise ValueError(f"status {answer.status_code}: {answer.text[:300]}")
        scores.append(scores_of(answer.json(), len(batch), model.signature))
    return np.concatenate(scores).reshape(len(rows), -1)


def _own(model: Model, rows: pd.DataFrame) -> Scores:
    """The training code's scores, shape (rows, numbers of a score)."""
    return model.score(rows).reshape(len(rows), -1)


def _variants(row: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """The row, without any feature, with each feature alone, and without each."""
    import numpy as np
    import pandas as pd

    each = np.eye(len(names), dtype=bool)
    kept = np.vstack([np.ones((1, len(names)), dtype=bool), np.zeros((1, len(names)), dtype=bool), each, ~each])
    copies = pd.concat([row] * len(kept), ignore_index=True).astype(dict.fromkeys(names, object))
    copies[list(names)] = copies[list(names)].where(kept, None)
    return copies


def _probes(scores: Scores) -> Probes:
    from kilter.core.gate.prediction_parity import Probes

    alone, without = scores[2:].reshape(2, -1, scores.shape[1])
    return Probes(scores[0], scores[1], alone, without)


def _row(frame: pd.DataFrame, place: int, context: StepContext) -> Row:
    from kilter.core.gate.prediction_parity import Row

    spec = context.spec
    return Row(entity=str(frame[spec.entity].iloc[place]), at=frame[spec.timestamp].iloc[place].to_pydatetime())


def _shown(value: Any) -> Any:
    """A cell as JSON can hold it; missing is None."""
    import pandas as pd

    if pd.isna(value):
        return None
    return value.isoformat() if isinstance(value, pd.Timestamp) else getattr(value, "item", lambda: value)()


def _largest(model: Model, offline: pd.DataFrame, online: pd.DataFrame) -> float:
    from kilter.core.gate.prediction_parity import differences, unit_of

    own = _own(model, offline)
    return float(differences(own, _own(model, online), unit_of(own, model.signature.task)).max())
