"""Gate check: the same rows scored by the training code, with the online store's features, and by the real server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kilter.errors import UnavailableError
from kilter.gate_check import Outputs as Outputs
from kilter.gate_check import ServerInputs as ServerInputs
from kilter.step import StepContext, StepInfo

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from kilter.core.gate.prediction_parity import Online, Probes, Row, Served
    from kilter.core.verdict import Judgement
    from kilter.holdout import Facts, Holdout
    from kilter.stores.models import Model
    from kilter.trainers import Vector
    from kilter.trial import TrialServer

STEP = StepInfo(
    stores=frozenset({"objects", "features"}),
    reads=("gate", "entity", "timestamp", "label", "features", "training"),
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
    from kilter.core.gate.prediction_parity import Online, judge
    from kilter.stores.models import load_model

    wanted = context.spec.gate.prediction_parity
    model = load_model(context.objects, holdout.facts.model)
    asked = _newest(context)
    if asked.empty:
        rows = holdout.frame.tail(wanted.rows).reset_index(drop=True)
        return judge(Online(rows=0), _served(rows, model, server, holdout.facts, context), wanted)
    offline = context.features.historical(asked)
    online = _online(offline, model, context)
    return judge(online, _served(offline, model, server, holdout.facts, context), wanted)


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


def _online(offline: pd.DataFrame, model: Model, context: StepContext) -> Online:
    """Compare feature by feature as the model sees them, then score by score."""
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
    return Online(
        rows=len(offline),
        newer=int(newer.sum()),
        behind=int(behind.sum()),
        differing=int(cells.any(axis=1).sum()),
        largest=_largest(model.score(offline[there]), model.score(online[there])) if there.any() else float("nan"),
        first=first,
    )


def _served(offline: pd.DataFrame, model: Model, server: TrialServer, facts: Facts, context: StepContext) -> Served:
    """Compare the server's scores; of the first row that differs, find the feature that is handled otherwise."""
    import numpy as np

    from kilter.core.gate.prediction_parity import Served, handled_otherwise

    gate, names = context.spec.gate, model.signature.names
    waited = server.wait(facts.digest, gate.serving_fitness.ready_within)
    if not waited.ready:
        return Served(rows=len(offline), silent=f"not ready: {waited.last_words}")
    tolerance = gate.prediction_parity.tolerance
    own = model.score(offline)
    try:
        answered = _ask(server, offline, names)
        wrong = np.flatnonzero(~(np.abs(own - answered) <= tolerance))
        served = Served(rows=len(offline), differing=len(wrong), largest=_largest(own, answered))
        if not wrong.size:
            return served
        place = int(wrong[0])
        variants = _variants(offline.iloc[[place]], names)
        features = handled_otherwise(_probes(model.score(variants)), _probes(_ask(server, variants, names)), tolerance)
    except UnavailableError as error:
        return Served(rows=len(offline), silent=str(error))
    except ValueError as error:
        return Served(rows=len(offline), refused=str(error))
    return served.model_copy(
        update={
            "first": _row(offline, place, context),
            "own": float(own[place]),
            "answered": float(answered[place]),
            "features": tuple(names[feature] for feature in features),
        }
    )


def _ask(server: TrialServer, rows: pd.DataFrame, names: tuple[str, ...]) -> Vector:
    """The server's scores.

    Raises:
        ValueError: it refused the rows, or answered something else than scores.
        UnavailableError: it ended, or took too long.
    """
    import numpy as np

    from kilter.trial import BATCH, body_of, scores_of

    scores: list[float] = []
    for start in range(0, len(rows), BATCH):
        batch = rows.iloc[start : start + BATCH]
        answer = server.post(body_of(batch, names))
        if answer.status_code != 200:
            raise ValueError(f"status {answer.status_code}: {answer.text[:300]}")
        scores += scores_of(answer.json(), len(batch))
    return np.array(scores)


def _variants(row: pd.DataFrame, names: tuple[str, ...]) -> pd.DataFrame:
    """The row, without any feature, with each feature alone, and without each."""
    import numpy as np
    import pandas as pd

    each = np.eye(len(names), dtype=bool)
    kept = np.vstack([np.ones((1, len(names)), dtype=bool), np.zeros((1, len(names)), dtype=bool), each, ~each])
    copies = pd.concat([row] * len(kept), ignore_index=True).astype(dict.fromkeys(names, object))
    copies[list(names)] = copies[list(names)].where(kept, None)
    return copies


def _probes(scores: Vector) -> Probes:
    from kilter.core.gate.prediction_parity import Probes

    alone, without = scores[2:].reshape(2, -1)
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


def _largest(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> float:
    import numpy as np

    return float(np.abs(one - other).max())
