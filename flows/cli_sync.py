"""The command that brings files from a Dataverse: sync."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from flows.cli_parts import FAILED, app, prepare_prefect, say

if TYPE_CHECKING:
    from flows.sync_plan import SyncConfig


@app.command
def sync(
    source: Literal["icews", "polecat"],
    *,
    into: Annotated[Path, Parameter(help="Folder that the files are put into.")],
    data: Annotated[
        Path, Parameter(help="Folder that a run writes to: what its lake has isn't fetched.")
    ] = Path("data/lake"),
    dry_run: Annotated[
        bool, Parameter(help="Only say what would be done; writes nothing.", negative=())
    ] = False,
    api_base: Annotated[
        str, Parameter(help="Where the Dataverse is.")
    ] = "https://dataverse.harvard.edu",
    doi: Annotated[
        list[str] | None,
        Parameter(help="Dataset; those of the source if not given. Repeatable.", negative=()),
    ] = None,
    match: Annotated[
        list[str] | None,
        Parameter(
            help="Pattern of names, such as 'events.2018.*'; event files if not given. Repeatable.",
            negative=(),
        ),
    ] = None,
    connections: Annotated[int, Parameter(help="Files fetched at the same time.")] = 2,
    pause: Annotated[float, Parameter(help="Seconds between two requests.")] = 0.5,
    timeout: Annotated[float, Parameter(help="Seconds without a byte until a new try.")] = 60.0,
    attempts: Annotated[int, Parameter(help="Tries for each file.")] = 6,
) -> int:
    """Bring the files of SOURCE that are new or have changed from its Dataverse.

    Files arrive whole and verified or not at all; run it again to go on where it was ended. An
    API token is taken from FORESHOCK_DATAVERSE_TOKEN, if it is set. Exit code 1 says that files
    are missing.
    """
    from flows.dataverse import DataverseConfig  # noqa: PLC0415
    from flows.sync_plan import SyncConfig  # noqa: PLC0415

    settings = SyncConfig(
        source=source,
        into=into,
        data=data,
        dois=tuple(doi or ()),
        match=tuple(match or ()),
        dataverse=DataverseConfig(
            api_base=api_base,
            connections=connections,
            pause=pause,
            timeout=timeout,
            attempts=attempts,
        ),
    )
    return _say_plan(settings) if dry_run else _fetch(settings)


def _say_plan(settings: "SyncConfig") -> int:
    """Print what would be done, without Prefect, which would write its state."""
    from flows.dataverse import Dataverse  # noqa: PLC0415
    from flows.dataverse_listing import ListingError  # noqa: PLC0415
    from flows.patience import TransferError  # noqa: PLC0415
    from flows.sync_plan import make_plan  # noqa: PLC0415
    from flows.sync_table import print_plan  # noqa: PLC0415

    try:
        with Dataverse.from_environment(settings.dataverse, on_retry=say) as dataverse:
            plan = make_plan(settings, dataverse)
    except (TransferError, ListingError) as error:
        say(f"the files can't be listed: {error}")
        return FAILED
    print_plan(plan)
    return FAILED if plan.refused else 0


def _fetch(settings: "SyncConfig") -> int:
    prepare_prefect(settings.data)
    from flows.sync import sync as flow  # noqa: PLC0415
    from flows.sync_plan import SyncError  # noqa: PLC0415
    from flows.sync_table import print_sync  # noqa: PLC0415

    try:
        result = flow(settings)
    except SyncError as error:
        print_sync(error.result)
        say(str(error))
        return FAILED
    except Exception as error:
        say(f"the sync failed: {error}")
        return FAILED
    print_sync(result)
    return 0
