"""The flow that trains a model and judges it against trivial ones."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prefect import flow, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from features.preparation import Prepared, prepare
from flows.aggregate import FeatureSet
from flows.config import RunConfig
from flows.digests import digest_of
from flows.publishing import whole_folder
from models import (
    Diagnosis,
    EpochReport,
    TrainedModel,
    checkpoint,
    diagnose,
    train,
)

VERSION: Final = 1
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
        prepared = prepare_windows(features, config)
        trained = fit(prepared, config)
        keep(trained, judge(trained, prepared), features, folder)
    return ModelReference(folder=folder, model_id=model_id, reused=reused)


@task(name="prepare windows", cache_policy=NO_CACHE)
def prepare_windows(features: FeatureSet, config: RunConfig) -> Prepared:
    """Encode, mask, difference, standardise and find the windows."""
    cube = features.cube(config.windows)
    prepared = prepare(cube, windows=config.windows, split=config.split, transform=config.transform)
    get_run_logger().info(
        "cube of %d entities, %d steps, %d features; %d windows (training %d, validation %d, "
        "held out %d)",
        *cube.values.shape,
        len(prepared.windows),
        *(len(prepared.windows_of(part)) for part in ("training", "validation", "held_out")),
    )
    return prepared


@task(name="train model", cache_policy=NO_CACHE)
def fit(prepared: Prepared, config: RunConfig) -> TrainedModel:
    """Train, reporting each epoch."""
    logger = get_run_logger()
    artifact: Any = create_progress_artifact(progress=0.0, description="Training")
    epochs = config.training.epochs

    def report(epoch: EpochReport) -> None:
        logger.info(
            "epoch %d of at most %d: loss %.4f, validation %.4f%s, %.0f windows a second",
            epoch.epoch,
            epochs,
            epoch.training_loss,
            epoch.validation_loss,
            " (best)" if epoch.is_best else "",
            epoch.windows_per_second,
        )
        update_progress_artifact(artifact, progress=100 * epoch.epoch / epochs)

    trained = train(
        prepared.values,
        prepared.observed,
        prepared.windows_of("training"),
        prepared.windows_of("validation"),
        length=prepared.windows.length,
        autoencoder=config.autoencoder,
        training=config.training,
        on_epoch=report,
    )
    update_progress_artifact(artifact, progress=100.0)
    return trained


@task(name="diagnose", cache_policy=NO_CACHE)
def judge(trained: TrainedModel, prepared: Prepared) -> Diagnosis:
    """Compare the model with the training mean, the last value and PCA, held out."""
    diagnosis = diagnose(
        trained.model,
        prepared.values,
        prepared.observed,
        prepared.windows_of("training"),
        prepared.windows_of("held_out"),
        length=prepared.windows.length,
        seed=trained.training.seed,
        device=trained.training.device,
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
    """Return what, beside the features, makes a model: not the device that it is trained on."""
    sections = {"windows", "split", "transform", "autoencoder", "training"}
    content = config.model_dump(mode="json", include=sections)
    del content["training"]["device"]
    return content
