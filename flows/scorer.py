"""A model with all that its scores depend on, frozen in one folder: what scores new events.

Nothing of it changes when events arrive, so that the score of a step is the same whether it is
given tonight or by scoring everything anew.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from features.preparation import Preparation
from features.split import SplitDates
from features.transforms import TransformConfig
from features.vocabulary import Vocabulary
from features.windows import WindowConfig
from flows.config import RunConfig
from flows.publishing import link_tree
from flows.regime_naming import REGIMES
from flows.yardstick import Calibrated, ErrorScale, Yardstick
from models import Calibration, LSTMAutoencoder, Mahalanobis, Regimes, checkpoint

SCORER: Final = "scorer"
_FORMAT: Final = 1
_MODEL: Final = "model"


class ScorerError(ValueError):
    """A scorer that can't be used; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scorer:
    """What scores steps of known entities.

    Attributes
    ----------
    model_id
        Of the model.
    config
        That it was trained under; ``source`` and ``data`` mean nothing.
    entities
        Whose steps it scores, sorted.
    model, vocabulary, preparation, yardstick, regimes
        What it scores with.
    """

    model_id: str
    config: RunConfig
    entities: tuple[str, ...]
    model: LSTMAutoencoder
    vocabulary: Vocabulary
    preparation: Preparation
    yardstick: Yardstick
    regimes: Regimes

    def save(self, folder: Path, model: Path) -> None:
        """Write it, with a copy of its model's folder."""
        folder.mkdir()
        link_tree(model, folder / _MODEL)
        (folder / "vocabulary.json").write_text(self.vocabulary.to_json())
        (folder / REGIMES).write_text(json.dumps(self.regimes.to_dict(), allow_nan=False))
        preparation, calibrated = self.preparation, self.yardstick.calibrated
        content = {
            "format": _FORMAT,
            "model_id": self.model_id,
            "config": frozen_part(self.config),
            "entities": self.entities,
            "windows": asdict(preparation.windows),
            "transform": asdict(preparation.transform),
            "dates": {name: str(day) for name, day in asdict(preparation.dates).items()},
            "has_usual_volume": preparation.usual_volume is not None,
            "with_training": calibrated.with_training,
            "calibration": calibrated.calibration.to_dict(),
        }
        (folder / "scorer.json").write_text(json.dumps(content, ensure_ascii=False, indent=1))
        arrays: dict[str, Any] = _arrays(preparation, self.yardstick)
        np.savez(folder / "scorer.npz", **arrays)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ScorerError
            If there is none, or one that other code wrote.
        """
        try:
            content = json.loads((folder / "scorer.json").read_text())
        except FileNotFoundError:
            msg = (
                f"there is no scorer in {folder}: nothing is published yet, or by an older "
                "version; run `foreshock run`, which trains one"
            )
            raise ScorerError(msg) from None
        if content["format"] != _FORMAT:
            msg = (
                f"the scorer in {folder} has format {content['format']}, expected {_FORMAT}: "
                "train again with `foreshock run`"
            )
            raise ScorerError(msg)
        with np.load(folder / "scorer.npz") as file:
            arrays = dict(file)
        return cls(
            model_id=content["model_id"],
            config=RunConfig.model_validate(content["config"] | {"source": ["."]}),
            entities=tuple(content["entities"]),
            model=checkpoint.load(folder / _MODEL).trained.model,
            vocabulary=Vocabulary.from_json((folder / "vocabulary.json").read_text()),
            preparation=_preparation(content, arrays),
            yardstick=_yardstick(content, arrays),
            regimes=Regimes.from_dict(json.loads((folder / REGIMES).read_text())),
        )


def frozen_part(config: RunConfig) -> dict[str, Any]:
    """Return what of a configuration a scorer holds to: not where things lie or who works."""
    return config.model_dump(mode="json", exclude={"source", "data", "execution", "force"})


def _arrays(preparation: Preparation, yardstick: Yardstick) -> dict[str, NDArray[Any]]:
    usual = preparation.usual_volume
    arrays: dict[str, NDArray[Any]] = {
        "mean": preparation.mean,
        "scale": preparation.scale,
        "usual_volume": np.zeros(0) if usual is None else usual,
        "variance": yardstick.variance,
        "usual": yardstick.usual,
        "reference_scores": yardstick.calibrated.scores,
        "reference_steps": yardstick.calibrated.steps.astype("datetime64[D]"),
    }
    for name in ("combined", "newest"):
        scale: ErrorScale = getattr(yardstick, name)
        arrays[f"{name}_variance"] = scale.variance
        for part in ("means", "whiteners", "group"):
            arrays[f"{name}_{part}"] = getattr(scale.mahalanobis, part)
    return arrays


def _preparation(content: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Preparation:
    return Preparation(
        windows=WindowConfig(**content["windows"]),
        transform=TransformConfig(**content["transform"]),
        dates=TypeAdapter(SplitDates).validate_python(content["dates"]),
        mean=arrays["mean"],
        scale=arrays["scale"],
        usual_volume=arrays["usual_volume"] if content["has_usual_volume"] else None,
    )


def _yardstick(content: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Yardstick:
    scales = {
        name: ErrorScale(
            variance=arrays[f"{name}_variance"],
            mahalanobis=Mahalanobis(
                **{part: arrays[f"{name}_{part}"] for part in ("means", "whiteners", "group")}
            ),
        )
        for name in ("combined", "newest")
    }
    return Yardstick(
        variance=arrays["variance"],
        usual=arrays["usual"],
        calibrated=Calibrated(
            calibration=Calibration.from_dict(content["calibration"]),
            scores=arrays["reference_scores"],
            steps=arrays["reference_steps"],
            with_training=content["with_training"],
        ),
        **scales,
    )
