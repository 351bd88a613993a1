"""`StreamSaver`: LangGraph's checkpoint saver over sessions. Each method drives a generator of `_steps.py`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
)

from agentstream.adapters import Steps, adrive, drive
from agentstream_langgraph._steps import SaverSteps

if TYPE_CHECKING:
    from langchain_core.runnables import RunnableConfig

T = TypeVar("T")


class StreamSaver(SaverSteps):
    """Keeps each LangGraph thread as the session `<prefix>/<thread_id>`.

    `client` is a Client or an AsyncClient: every method is there in both ways, for any thread
    and from inside any loop. What is put is durable when the method returns.

    `serde` is LangGraph's (JsonPlusSerializer by default). `verify="full"` looks at every
    element of a list for changes made in place, instead of at the last 50 of those that hold
    more than plain data. `fence=False` lets two workers go on from one checkpoint, for those
    who make sure otherwise that they do not; else the second is `Fenced`.

    Raises NotSerializable for what the serializer refuses, with its path; Fenced; StoreError.
    """

    def _drive(self, steps: Steps[T]) -> T:
        return drive(self._client, steps)

    async def _adrive(self, steps: Steps[T]) -> T:
        return await adrive(self._client, steps)

    # --- sync ---------------------------------------------------------------------------------------------------------

    def put(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Stores a checkpoint; it is durable when this returns. Raises NotSerializable, Fenced."""
        return self._drive(self._put(config, checkpoint, metadata, new_versions, False))

    def put_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Stores what a task wrote; durable when this returns. The checkpoint may come later."""
        self._drive(self._put_writes(config, writes, task_id, task_path, False))

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that `config` names, or its namespace's latest; None if there is none."""
        return self._drive(self._get_tuple(config, False))

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, the newest first, as they are when the first is asked for; of all threads without `config`.

        Nothing is held between two of them: any other method may be called meanwhile.
        """
        yield from self._chosen(self._drive(self._listed(config, before)), filter, limit)

    def delete_thread(self, thread_id: str) -> None:
        """Deletes the thread's session. Copies of the thread stay whole."""
        self._drive(self._delete(str(thread_id)))

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Takes away the checkpoints, and their writes, whose metadata name one of these runs, in all threads."""
        self._drive(self._delete_for_runs(run_ids, False))

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Makes `target` a fork of `source`, history and pending writes included; costs the same for any length.

        NotFound if there is no such thread, SessionExists if the target is there.
        """
        self._drive(self._copy(str(source_thread_id), str(target_thread_id)))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Takes away all checkpoints but each namespace's latest, or with "delete" the threads.

        What a kept checkpoint's DeltaChannels are made of stays in the log, as does what copies share.
        """
        self._drive(self._prune(thread_ids, strategy, False))

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What ancestors wrote to these channels since the nearest stored value of each."""
        return self._drive(self._delta_history(config, channels))

    # --- async --------------------------------------------------------------------------------------------------------

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """As `put`."""
        return await self._adrive(self._put(config, checkpoint, metadata, new_versions, True))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """As `put_writes`."""
        await self._adrive(self._put_writes(config, writes, task_id, task_path, True))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """As `get_tuple`."""
        return await self._adrive(self._get_tuple(config, True))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """As `list`."""
        for found in self._chosen(await self._adrive(self._listed(config, before)), filter, limit):
            yield found

    async def adelete_thread(self, thread_id: str) -> None:
        """As `delete_thread`."""
        await self._adrive(self._delete(str(thread_id)))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """As `delete_for_runs`."""
        await self._adrive(self._delete_for_runs(run_ids, True))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """As `copy_thread`."""
        await self._adrive(self._copy(str(source_thread_id), str(target_thread_id)))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """As `prune`."""
        await self._adrive(self._prune(thread_ids, strategy, True))

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """As `get_delta_channel_history`."""
        return await self._adrive(self._delta_history(config, channels))
