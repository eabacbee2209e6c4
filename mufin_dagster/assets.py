"""One factory: each stage of dvc.yaml becomes one asset, `[dataset, noun]`.

Every body is the same. Does DVC say that the stage changed? Then run the stage's own command and commit what it left
to DVC. Either way report what the files say, with DVC's hash as the data version. So "Materialize" and `dvc repro`
are one act, and each knows what the other did.
"""
# No `from __future__ import annotations`: Dagster reads the annotation of `config` itself.

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from mufin_dagster import execution, lock_entry, pipeline, restored, retries, run_settings, run_tags, stale, versioning
from mufin_dagster.conditions import when_an_input_changed
from mufin_dagster.describe import describe
from mufin_dagster.identity import TAG, identity
from mufin_dagster.pipeline import Locked, Stage
from mufin_dagster.run_settings import RunSettings
from mufin_dagster.settings import Automation, automation
from mufin_model import run_mode
from mufin_model.artefacts import CATALOG, Workspace
from mufin_model.errors import MufinError, SettingError
from mufin_model.fingerprint import record
from mufin_model.run_mode import MODE, REFRESH, RETRAIN


class StageConfig(dg.Config):
    """What a run of one stage may be told in the launchpad."""

    settings: list[str] = Field(
        default_factory=list,
        description="Overrides, as in pretrain.lr=3e-4; kept in the dataset's section of params.yaml as a run begins.",
    )
    force: bool = Field(default=False, description="Run although DVC finds nothing changed.")
    mode: str = Field(
        default="",
        description="Of a stage that learns. refresh: keep what it learnt before; retrain: learn anew what a refresh "
        "kept; empty: learn anew where something changed.",
    )


def build(workspace: Workspace, stages: Sequence[Stage]) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """All assets: each dataset's catalogue, which its owner writes, and its stages."""
    datasets = dict.fromkeys(stage.dataset for stage in stages)
    settings = automation(workspace.params)
    made = (_asset(workspace, stage, stages, settings) for stage in stages)
    return [*(_catalog(dataset) for dataset in datasets), *made]


def key(stage: Stage) -> dg.AssetKey:
    return dg.AssetKey(list(stage.key))


def event_tags(stage: Stage, stages: Sequence[Stage], locked: Mapping[str, Locked]) -> dict[str, str]:
    """The versions of a stage's last result as DVC recorded them, in the words of Dagster's staleness.

    Dagster needs both tags of an input; without the pointer it would call the input a new dependency.
    """
    mine = locked[stage.address]
    tags = {
        "dagster/data_version": mine.data_version,
        "dagster/data_version_is_user_provided": "true",
        "dagster/code_version": mine.code_version,
    }
    if same := identity(stage, stages, locked):
        tags[TAG] = same
    by_key = {other.key: other for other in stages}
    for parent in pipeline.parents(stage, stages):
        name = dg.AssetKey(list(parent)).to_user_string()
        version = (
            pipeline.input_version(stage, by_key[parent], locked)
            if parent in by_key
            else mine.deps[f"{pipeline.DATA}{stage.dataset}/{CATALOG}"]
        )
        tags[f"dagster/input_data_version/{name}"] = version
        tags[f"dagster/input_event_pointer/{name}"] = "NULL"
    return tags


def catalog_event(instance: dg.DagsterInstance, workspace: Workspace, dataset: str) -> dg.AssetMaterialization | None:
    """That the catalogue has the version `dvc add` recorded; None where Dagster knows.

    Not an observation: Dagster's staleness ignores those of an asset that it cannot itself observe.
    """
    catalog = dg.AssetKey([dataset, CATALOG])
    version = pipeline.catalog_version(workspace.root, dataset)
    latest = instance.get_latest_materialization_event(catalog)
    known = latest.asset_materialization.tags if latest and latest.asset_materialization else None
    if version is None or (known or {}).get("dagster/data_version") == version:
        return None
    tags = {"dagster/data_version": version, "dagster/data_version_is_user_provided": "true"}
    folder = dg.MetadataValue.path(str(workspace.catalog(dataset)))
    return dg.AssetMaterialization(catalog, metadata={"path": folder}, tags=tags)


def _catalog(dataset: str) -> dg.AssetSpec:
    return dg.AssetSpec(
        [dataset, CATALOG],
        group_name=dataset,
        description=f"The catalogue of {dataset}, as its owner wrote it to data/{dataset}/{CATALOG}.",
        kinds={"dvc"},
    )


def _asset(workspace: Workspace, stage: Stage, stages: Sequence[Stage], settings: Automation) -> dg.AssetsDefinition:
    need = execution.Need.of(stage.meta)
    # a catalogue's new version is the sensor `new_data`'s affair, which chooses between refresh and retraining
    first = (stage.dataset, CATALOG) in pipeline.parents(stage, stages)

    @dg.asset(
        key=key(stage),
        deps=[dg.AssetKey(list(parent)) for parent in pipeline.parents(stage, stages)],
        group_name=stage.dataset,
        description=f"{stage.desc}\n\n`{stage.cmd}`",
        kinds={*stage.meta.get("kinds", []), "dvc"},
        owners=stage.meta.get("owners", ["team:mufin"]),
        tags={"stage": stage.noun, "dataset": stage.dataset},
        metadata={"command": stage.cmd, "folder": f"{pipeline.DATA}{stage.dataset}/{stage.noun}"},
        code_version=stage.code_version,
        pool=execution.pool(execution.execution(workspace.params), need),
        op_tags=execution.op_tags(need),
        automation_condition=None if first else when_an_input_changed(),
        retry_policy=retries.policy(settings),
        freshness_policy=_freshness(settings) if stage.meta.get("fresh") else None,
    )
    def asset(context: dg.AssetExecutionContext, config: StageConfig) -> dg.MaterializeResult:
        try:
            return _materialize(context, config, workspace, stage.address)
        except MufinError as error:
            raise _told(context, dg.Failure(str(error), allow_retries=retries.may_pass(error))) from error
        except dg.Failure as failure:
            raise _told(context, failure) from None

    return asset


def _told(context: dg.AssetExecutionContext, failure: dg.Failure) -> dg.Failure:
    """The failure; the event of a step that is tried again does not say why."""
    if failure.allow_retries:
        context.log.warning(f"may pass by itself: {failure.description}")
    return failure


def _freshness(settings: Automation) -> dg.FreshnessPolicy:
    """Of what people look at: it warns, then fails, when it was not brought up to date for so long."""
    hours = settings.fresh_hours
    return dg.FreshnessPolicy.time_window(timedelta(hours=hours), warn_window=timedelta(hours=0.9 * hours))


def _materialize(
    context: dg.AssetExecutionContext, config: StageConfig, workspace: Workspace, address: str
) -> dg.MaterializeResult:
    root = workspace.root
    now = _stage(workspace, address)
    run_settings.refuse_foreign(now, config.settings)
    settings = run_settings.take(workspace, now.dataset, *_run_and_overrides(context, now.dataset))
    _tag(context, workspace, now.dataset)
    # two runs of one asset at once, or one and what a lost run has left: the later finds what the earlier made
    with versioning.exclusive(root, address):
        now = _stage(workspace, address)
        why = stale.reasons(root, [now]).get(address, [])
        if config.mode == RETRAIN and _kept(workspace, now):
            why = [*why, "it keeps what was learnt before a refresh"]
        ran: bool | str = bool(why) or config.force
        if not config.force and (brought := restored.restore(root, now, why)):
            context.log.info(f"{address}: {brought}, as it was recorded")
            ran = brought
        elif ran:
            context.log.info(f"{address}: " + ("; ".join(why) or "forced"))
            inputs = pipeline.inputs(root, address)
            _run(context, workspace, now, settings.environment | ({MODE: config.mode} if config.mode else {}))
            _unchanged(now, _stage(workspace, address))
            _still(now, inputs, pipeline.inputs(root, address))
            _commit(workspace, now, settings, config.mode)
        else:
            context.log.info(f"{address}: DVC finds nothing changed, the artefact stays as it is")
    stages = pipeline.load(root)
    locked = pipeline.read_lock(root, stages)
    stage = next(stage for stage in stages if stage.address == address)
    reads_catalog = (stage.dataset, CATALOG) in pipeline.parents(stage, stages)
    if reads_catalog and (event := catalog_event(context.instance, workspace, stage.dataset)):
        context.log_event(event)
    return dg.MaterializeResult(
        metadata={**describe(workspace, stage), "ran": ran, **_told_of(settings)},
        data_version=dg.DataVersion(locked[address].data_version),
        tags=event_tags(stage, stages, locked),
    )


def _stage(workspace: Workspace, address: str) -> Stage:
    """The stage as its files define it now: they may have changed since the code location was loaded."""
    for stage in pipeline.load(workspace.root):
        if stage.address == address:
            return stage
    raise SettingError(f"no stage {address} any more", where="dvc.yaml", mend="reload the code location")


def _tag(context: dg.AssetExecutionContext, workspace: Workspace, dataset: str) -> None:
    """Name what a run launched by hand is of; one that was asked for by a sensor has its tags already."""
    known = context.run.tags
    if "mufin/data" not in known:
        context.instance.add_run_tags(context.run.run_id, run_tags.tags(workspace, [dataset], named=True))


def _run(context: dg.AssetExecutionContext, workspace: Workspace, stage: Stage, environment: Mapping[str, str]) -> None:
    for path in stage.deps:
        if not (workspace.root / path).exists():
            # a fresh clone: what DVC has in its cache or remote need not be made again
            versioning.dvc(workspace.root, "pull", "--allow-missing", path)

    def forward(lines: str) -> None:
        context.log.info(lines)
        print(lines, flush=True)

    env = {versioning.IN_STAGE: stage.address, **environment}
    ended = execution.run(workspace, stage, env, workspace.params, forward)
    if ended.code:
        raise retries.ended(stage.cmd, ended)


def _unchanged(before: Stage, after: Stage) -> None:
    """DVC records the code at commit; it must be that which the command ran with. Settings are the run's own."""
    if changed := record.meanwhile(before.fingerprint, after.fingerprint):
        raise SettingError(
            f"the code of {before.noun} changed while it ran",
            where="mufin_model/",
            rows=changed,
            mend="materialize it again: what it left belongs to neither version",
        )


def _still(stage: Stage, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """So do its inputs: a drop taken in or a command in a shell meanwhile, and DVC would record what was not read."""
    changed = [path for path in before if before[path] != after.get(path)]
    if changed:
        told = f"{', '.join(changed)} changed while {stage.noun} ran, so what it left is of neither version"
        raise dg.Failure(told, allow_retries=True)


def _commit(workspace: Workspace, stage: Stage, settings: RunSettings, mode: str) -> None:
    """Record what the command left, and first, as `dvc repro` does, a catalogue edited since `dvc add`.

    What a refresh kept was learnt with the settings recorded before, so that these stay.
    """
    learnt = lock_entry.settings(workspace.root, stage.address) if mode == REFRESH else {}
    catalog = f"{pipeline.DATA}{stage.dataset}/{CATALOG}"
    if catalog in stage.deps and (workspace.root / f"{catalog}.dvc").is_file():
        versioning.record_catalog(workspace, stage.dataset)
    versioning.commit(workspace.root, stage.address, workspace.root / "dvc.lock")
    ran = settings.of(stage)
    for key, made_with in lock_entry.settings(workspace.root, stage.address, record.FILE).items():
        if "weights" in made_with:  # params.yaml may name others by now than the run's copy
            read = record.named_weights(workspace.root, stage.dataset, workspace.root / settings.path)
            own = {key: {**made_with, "weights": read}}
            lock_entry.record(workspace.root, stage.address, own, record.FILE)
    if ran:
        lock_entry.record(workspace.root, stage.address, {key: learnt.get(key, value) for key, value in ran.items()})


def _kept(workspace: Workspace, stage: Stage) -> bool:
    return any(run_mode.kept(workspace.root / path) for path in stage.outs)


def _run_and_overrides(context: dg.AssetExecutionContext, dataset: str) -> tuple[str, list[str]]:
    """The run's id, or that of the run which it repeats by itself, and the overrides of its stages of a dataset."""
    run = context.run
    repeated = run.root_run_id if "dagster/retry_number" in run.tags else None
    ops: Any = run.run_config.get("ops") or {}
    own = [
        told.get("config") or {}
        for name, told in ops.items()
        if name.startswith(f"{dg.AssetKey([dataset]).to_python_identifier()}__")
    ]
    return repeated or run.run_id, list(dict.fromkeys(text for one in own for text in one.get("settings") or []))


def _told_of(settings: RunSettings) -> dict[str, dg.MetadataValue]:
    """In which settings the run differs from params.yaml, for the asset's page."""
    told = settings.differences()
    return {"settings of the run": dg.MetadataValue.md("\n".join(f"- {line}" for line in told))} if told else {}
