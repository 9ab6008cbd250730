"""The flow that trains a model and judges it against trivial ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from flows.aggregate import FeatureSet
from flows.config import RunConfig
from flows.digests import digest_of
from flows.learning import SEASONS, LearningData, learning_data
from flows.progress import training_progress
from flows.publishing import UNFINISHED, whole_folder
from models import CheckpointError, Diagnosis, TrainedModel, checkpoint, diagnose, train

VERSION: Final = 3
"""To be raised when the same features would give another model."""


@dataclass(frozen=True, kw_only=True)
class ModelReference:
    """A model in the data folder.

    Attributes
    ----------
    folder
        Holds ``model.pt``, ``model.json`` (with the diagnosis) and ``vocabulary.json``.
    model_id
        Digest of configuration, vocabulary and data.
    reused
        Whether it was there already.
    """

    folder: Path
    model_id: str
    reused: bool


@flow(name="train", flow_run_name="train {config.name}", validate_parameters=False)
def train_model(features: FeatureSet, config: RunConfig) -> ModelReference:
    """Train a model and diagnose it, unless the very same one is there."""
    model_id = digest_of(VERSION, features.digest, _determinants(config))
    folder = config.data / "models" / model_id
    reused = folder.exists()
    if reused:
        get_run_logger().info("nothing new: model %s is there", model_id)
    else:
        data = prepare_windows(features, config)
        state = config.data / "models" / f"{UNFINISHED}training-{model_id}.pt"
        trained = fit(data, config, state)
        keep(trained, judge(trained, data, config), features, folder)
        state.unlink(missing_ok=True)
    return ModelReference(folder=folder, model_id=model_id, reused=reused)


@task(name="prepare windows", cache_policy=NO_CACHE)
def prepare_windows(features: FeatureSet, config: RunConfig) -> LearningData:
    """Encode, mask, difference, standardise and find the windows."""
    data = learning_data(features.cube(config.windows), features.vocabulary(), config)
    prepared = data.prepared
    get_run_logger().info(
        "cube of %d entities, %d steps, %d features; %d windows (training %d, validation %d, "
        "held out %d)",
        *prepared.values.shape,
        len(prepared.windows),
        *(len(prepared.windows_of(part)) for part in ("training", "validation", "held_out")),
    )
    return data


@task(name="train model", cache_policy=NO_CACHE)
def fit(data: LearningData, config: RunConfig, state: Path) -> TrainedModel:
    """Train, reporting each epoch; a training that was killed goes on after its last epoch."""
    try:
        return _fit(data, config, state)
    except CheckpointError as error:
        get_run_logger().warning("training begins anew: %s", error)
        state.unlink()
        return _fit(data, config, state)


def _fit(data: LearningData, config: RunConfig, state: Path) -> TrainedModel:
    prepared = data.prepared
    with training_progress(config.training) as (on_epoch, on_batch):
        return train(
            training_windows=prepared.windows_of("training"),
            validation_windows=prepared.windows_of("validation"),
            exposure=data.cube.exposure,
            share_groups=data.share_groups,
            autoencoder=config.autoencoder,
            training=config.training,
            on_epoch=on_epoch,
            on_batch=on_batch,
            resume=state,
            **data.arrays,
        )


@task(name="diagnose", cache_policy=NO_CACHE)
def judge(trained: TrainedModel, data: LearningData, config: RunConfig) -> Diagnosis:
    """Compare the model with what is trivial, on held-out time."""
    diagnosis = diagnose(
        trained.model,
        training_windows=data.prepared.windows_of("training"),
        held_out_windows=data.prepared.windows_of("held_out"),
        season=SEASONS[config.step],
        history=trained.history,
        training=trained.training,
        seed=trained.training.seed,
        device=trained.training.device,
        **data.arrays,
    )
    logger = get_run_logger()
    (logger.info if diagnosis.verdict == "sound" else logger.warning)(diagnosis.sentence)
    return diagnosis


def keep(
    trained: TrainedModel,
    diagnosis: Diagnosis,
    features: FeatureSet,
    folder: Path,
) -> None:
    """Write the model, its diagnosis and its vocabulary, whole or not at all."""
    extra = {
        "entity": features.entity,
        "step": features.step,
        "features": features.digest,
        "vocabulary": features.vocabulary().digest,
    }
    with whole_folder(folder) as target:
        checkpoint.save(target, trained, diagnosis=diagnosis, extra=extra)
        (target / "vocabulary.json").write_text(features.vocabulary().to_json())


def _determinants(config: RunConfig) -> dict[str, Any]:
    """Return what, beside the features, makes a model: not the device or what it can hold."""
    sections = {"windows", "split", "transform", "autoencoder", "training"}
    content = config.model_dump(mode="json", include=sections)
    for setting in ("device", "slab_bytes"):
        del content["training"][setting]
    return content
