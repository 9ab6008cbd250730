"""Commands that judge scores: compare, evaluate, benchmark and explain."""

import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console

from flows.cli_parts import (
    ConfigFile,
    Settings,
    Source,
    app,
    day,
    load,
    prepare_prefect,
    report,
    say_written,
)


@app.command
def compare(
    *,
    events: Annotated[
        Path | None, Parameter(help="CSV of dated events: country, start, end and more.")
    ] = None,
    seeds: Annotated[int, Parameter(help="Models of each representation; medians count.")] = 3,
    representation: Annotated[
        list[str] | None, Parameter(help="Which; all if not given. Repeatable.", negative=())
    ] = None,
    held_out: Annotated[float, Parameter(help="Share of the steps after the training.")] = 0.5,
    config: ConfigFile = None,
    source: Source = None,
    data: Path | None = None,
    entity: str | None = None,
    step: str | None = None,
    set_: Settings = None,
) -> int:
    """Compare every representation and scorer, baselines beside the model, in one table.

    They are judged by dated events, if there are any, and by anomalies injected into the held-out
    part.
    """
    from pydantic import ValidationError  # noqa: PLC0415

    from features.dated_events import read_dated_events  # noqa: PLC0415
    from flows.comparison_grid import REPRESENTATIONS, ComparisonConfig  # noqa: PLC0415
    from flows.config import ConfigError, explain_errors  # noqa: PLC0415
    from flows.sources import find_files  # noqa: PLC0415

    run = load(config, source, data, entity, step, set_)
    try:
        settings = ComparisonConfig(
            run=run,
            events=events,
            seeds=seeds,
            representations=tuple(representation or REPRESENTATIONS),
            held_out=held_out,
        )
    except ValidationError as error:
        raise ConfigError(explain_errors(error, None)) from None
    find_files(run.source)
    if events is not None:
        read_dated_events(events)
    prepare_prefect(settings.run.data)
    from flows.comparison import ComparisonResult  # noqa: PLC0415
    from flows.comparison import compare as flow  # noqa: PLC0415

    def show(result: ComparisonResult) -> None:
        Console().print(result.table, markup=False, soft_wrap=True)
        say_written(result.folder)

    return report("comparison", lambda: flow(settings), show)


@app.command
def explain(
    entity: str,
    *,
    since: Annotated[str | None, Parameter(help="First day, such as 2008-07-01.")] = None,
    until: Annotated[str | None, Parameter(help="Last day.")] = None,
    name: Annotated[
        str, Parameter(help="What was published: entity and step, such as country-week.")
    ] = "country-week",
    data: Annotated[Path, Parameter(help="Folder that a run wrote to.")] = Path("data/lake"),
    steps: Annotated[int, Parameter(help="How many steps are explained in words.")] = 5,
    plot: Annotated[Path | None, Parameter(help="PNG to draw the explanation to.")] = None,
    calibration: Annotated[
        Path | None, Parameter(help="PNG to draw to how many alarms there are for how many asked.")
    ] = None,
) -> int:
    """Say why steps of ENTITY stand out: observed and expected events, and the volume's part."""
    from flows.explain import draw_calibration, draw_explanation  # noqa: PLC0415
    from flows.explain import explain as explained  # noqa: PLC0415

    published = data / "published" / name / "latest"
    if not published.exists():
        msg = f"nothing is published in {published}; give --data and --name, or run first"
        raise ValueError(msg)
    found = explained(published, entity, day(since), day(until))
    sys.stdout.write(found.text(n_steps=steps))
    if plot is not None:
        draw_explanation(found).savefig(plot)
        say_written(plot)
    if calibration is not None:
        draw_calibration(published).savefig(calibration)
        say_written(calibration)
    return 0


@app.command
def evaluate(
    *,
    events: Annotated[Path, Parameter(help="CSV of dated events: country, start, end and more.")],
    scores: Annotated[
        Path | None, Parameter(help="Parquet of scores; what was published if not given.")
    ] = None,
    name: Annotated[
        str, Parameter(help="What was published: entity and step, such as country-week.")
    ] = "country-week",
    data: Annotated[Path, Parameter(help="Folder that a run wrote to.")] = Path("data/lake"),
    column: Annotated[
        list[str] | None, Parameter(help="Column of scores; all known if not given. Repeatable.")
    ] = None,
    part: Annotated[str, Parameter(help="all, training, validation or held_out rows.")] = "all",
    since: Annotated[str | None, Parameter(help="First day, such as 2008-07-01.")] = None,
    until: Annotated[str | None, Parameter(help="Last day.")] = None,
    core: Annotated[
        bool, Parameter(help="Only events with 1 in the column core.", negative=())
    ] = False,
    kind: Annotated[
        list[str] | None, Parameter(help="Kind of event that counts. Repeatable.", negative=())
    ] = None,
    last_step: Annotated[
        bool, Parameter(help="A window stands for its last step alone.", negative=())
    ] = False,
    seed: int = 0,
) -> int:
    """Say how many dated events scores find, beside chance, placebo and the mere volume."""
    from flows.evaluation_config import (  # noqa: PLC0415
        EvaluationConfig,
        read_events,
        read_scores,
    )

    settings = EvaluationConfig(
        events=events,
        data=data,
        name=name,
        scores=scores,
        columns=tuple(column or ()),
        part=part,  # type: ignore[arg-type]  # checked by the configuration
        since=day(since),
        until=day(until),
        core=core,
        kinds=tuple(kind or ()),
        last_step=last_step,
        seed=seed,
    )
    read_events(settings)
    read_scores(settings)
    prepare_prefect(data)
    from flows.evaluation import evaluate as flow  # noqa: PLC0415
    from flows.evaluation import print_evaluation  # noqa: PLC0415

    return report("evaluation", lambda: flow(settings), print_evaluation)


@app.command
def benchmark(
    *files: Annotated[Path, Parameter(help="Files of arrays: train, test and labels, as .npz.")],
    data: Annotated[Path, Parameter(help="Folder for everything that is written.")] = Path(
        "data/lake"
    ),
    length: Annotated[int, Parameter(help="Steps in a window.")] = 16,
    seeds: Annotated[int, Parameter(help="Runs of each scorer; medians count.")] = 3,
) -> int:
    """Run the models and scorers on labelled arrays: average precision and VUS-PR."""
    from flows.benchmark_data import BenchmarkConfig, read_labelled_cube  # noqa: PLC0415

    settings = BenchmarkConfig(files=files, data=data, length=length, seeds=seeds)
    for file in files:
        read_labelled_cube(file, settings)
    prepare_prefect(data)
    from flows.benchmark import benchmark as flow  # noqa: PLC0415
    from flows.benchmark import print_benchmark  # noqa: PLC0415

    return report("benchmark", lambda: flow(settings), print_benchmark)
