"""Dead letters go back to where they came from, as they were."""

import pytest

from shared.bus import redrive
from shared.bus.dead_letter import ORIGIN_TOPIC
from shared.topics import Topic
from tests.integration.shared.conftest import Effects, Log, StartReader, message

HEADERS = [("ce_id", b"1"), ("ce_type", b"report-jobs.JobStarted.v1"), ("note", b"\xff")]


@pytest.fixture
async def letters(log: Log, effects: Effects, start_reader: StartReader) -> None:
    """Three dead letters, of records at the offsets 0, 1 and 2."""
    for value in (b"{zero", b"{one", b"{two"):
        await log.write_raw(value, key=b"job", headers=HEADERS)
    await log.write(1, partition=0)
    async with start_reader(effects):
        await effects.wait_for(1)


async def test_letter_is_put_back_with_its_bytes_and_key_and_own_headers(
    log: Log, letters: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await redrive.redrive(log.settings, offset=1, is_all=False)

    (record,) = [r for r in await log.read(Topic.EVENTS) if r.value == b"{one" and r.offset != 1]
    assert record.key == b"job"
    assert dict(record.headers)["ce_id"] == b"1"
    assert not {name for name, _ in record.headers if name.startswith("dl_")}
    assert f"letter 1 of {log.settings.topic(Topic.EVENTS)}/0/1, put back" in (
        capsys.readouterr().out
    )


async def test_all_letters_from_an_offset_on_are_put_back(log: Log, letters: None) -> None:
    await redrive.redrive(log.settings, offset=1, is_all=True)

    values = [record.value for record in await log.read(Topic.EVENTS)]
    assert sorted(values.count(value) for value in (b"{zero", b"{one", b"{two")) == [1, 2, 2]


async def test_all_letters_are_put_back(log: Log, letters: None) -> None:
    await redrive.redrive(log.settings, offset=None, is_all=True)

    values = [record.value for record in await log.read(Topic.EVENTS)]
    assert [values.count(value) for value in (b"{zero", b"{one", b"{two")] == [2, 2, 2]


async def test_offset_without_a_letter_is_refused(log: Log, letters: None) -> None:
    with pytest.raises(LookupError, match="no letter at offset 3"):
        await redrive.redrive(log.settings, offset=3, is_all=True)


async def test_letter_for_a_topic_that_is_not_ours_stays(
    log: Log, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = message(1)
    async with log.producer() as producer:
        await producer.send_and_wait(
            log.settings.topic(Topic.DEAD_LETTER),
            sent.value,
            headers=[(ORIGIN_TOPIC, b"somebody-elses")],
        )

    assert not await redrive.redrive(log.settings, offset=None, is_all=True)
    assert "doesn't come from a topic of ours" in capsys.readouterr().out


async def test_record_whose_bytes_were_left_out_stays(
    log: Log, effects: Effects, start_reader: StartReader
) -> None:
    await log.write_unreadable()
    await log.write(1, partition=0)
    async with start_reader(effects):
        await effects.wait_for(1)

    assert not await redrive.redrive(log.settings, offset=None, is_all=True)


def test_command_without_a_choice_is_refused() -> None:
    with pytest.raises(SystemExit) as stopped:
        redrive.main([])

    assert stopped.value.code == 2


def test_missing_settings_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KAFKA_BOOTSTRAP_SERVERS", raising=False)

    assert redrive.main(["--all"]) == 2
    assert "bootstrap_servers" in capsys.readouterr().err


def test_broker_that_is_away_ends_the_command_with_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:1")

    assert redrive.main(["--all"]) == 1
    assert capsys.readouterr().err.startswith("redrive: no log to read")
