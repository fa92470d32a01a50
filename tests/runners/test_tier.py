"""The KV tier: what is kept, what goes first, and what a spoilt disk does."""

import threading
from pathlib import Path

from runners.llama.layout import LLAMA_CPPS, LONG
from runners.saved import SavedSequences
from runners.tier import LEAST_TOKENS, Kept, Reading, Tier

TOKENS = tuple(range(100))


def kept(*tokens: int, size: int = 1000) -> Kept:
    """Make a sequence of 100 tokens that begins with the given ones."""
    return Kept((*tokens, *TOKENS[len(tokens) :]), (), LLAMA_CPPS, bytes(size))


def disk(folder: Path, *, identity: str = "model", limit_bytes: int = 1 << 20) -> SavedSequences:
    """Open a folder."""
    return SavedSequences(folder, identity, limit_bytes=limit_bytes)


def read(tier: Tier, one: Kept) -> bytes | None:
    """Give cells from the disk, as a slot gets them that waits for them."""
    reading = tier.cells(one)
    assert isinstance(reading, Reading)
    while not reading.is_done:
        pass
    cells = tier.cells(one, reading)
    assert not isinstance(cells, Reading)
    return cells


def test_tier_finds_longest_prefix_per_adapter_set() -> None:
    """Cells of another set of adapters are others' cells."""
    tier = Tier(memory_bytes=1 << 20)
    one, other = kept(), kept(7)
    tier.keep(one)
    tier.keep(other)
    assert tier.find([*TOKENS, 5], ()) == (one, 100)
    assert tier.find([7, 1, 2], ()) == (other, 3)
    assert tier.find(TOKENS, (("lora.gguf", 1.0),)) is None


def test_tier_continued_sequence_replaces_its_beginning() -> None:
    """A conversation is kept once, at its longest."""
    tier = Tier(memory_bytes=1 << 20)
    tier.keep(kept())
    longer = Kept((*TOKENS, 1, 2, 3), (), LLAMA_CPPS, bytes(2000))
    tier.keep(longer)
    assert tier.used_bytes == 2000
    assert tier.find(TOKENS, ()) == (longer, 100)
    assert not tier.wants(TOKENS, ())


def test_tier_over_its_limit_drops_the_least_recently_used() -> None:
    """Memory is bounded, and a use counts."""
    tier = Tier(memory_bytes=2500)
    first, second, third = kept(1), kept(2), kept(3)
    tier.keep(first)
    tier.keep(second)
    assert tier.cells(first) is not None
    tier.keep(third)
    assert tier.used_bytes == 2000
    assert tier.find([2, 1, 2], ()) is None
    assert tier.find([1, 1, 2], ()) == (first, 3)


def test_tier_survives_its_runner_on_disk(tmp_path: Path) -> None:
    """What was in memory at the end is found by the next runner of the same model, byte for byte."""
    tier = Tier(memory_bytes=1 << 20, disk=disk(tmp_path))
    tier.keep(Kept(TOKENS, (("lora.gguf", 0.5),), LONG, b"cells" * 100))
    tier.close()
    again = Tier(memory_bytes=1 << 20, disk=disk(tmp_path))
    found = again.find([*TOKENS, 4], (("lora.gguf", 0.5),))
    assert found is not None
    assert found[1] == 100
    assert (found[0].layout, read(again, found[0])) == (LONG, b"cells" * 100)


def test_tier_of_another_model_finds_nothing(tmp_path: Path) -> None:
    """Identity is part of the name and of the head."""
    tier = Tier(memory_bytes=1 << 20, disk=disk(tmp_path))
    tier.keep(kept())
    tier.close()
    assert Tier(memory_bytes=0, disk=disk(tmp_path, identity="other")).find(TOKENS, ()) is None


def test_saved_spoilt_file_is_ignored_and_removed(tmp_path: Path) -> None:
    """A flipped byte in the cells, a cut and a foreign file cost nothing but themselves."""
    saved = disk(tmp_path)
    path = saved.save(TOKENS, (), LLAMA_CPPS, bytes(1000))
    whole = path.read_bytes()
    for spoilt in (whole[:-1], whole[:-1] + b"x", whole[:20], b"", b"nonsense"):
        path.write_bytes(spoilt)
        assert saved.load(path) is None
        assert not path.exists()
    path.write_bytes(b"nonsense")
    assert Tier(memory_bytes=0, disk=disk(tmp_path)).find(TOKENS, ()) is None
    assert not path.exists()


def test_saved_limit_removes_the_longest_unused_of_all_models(tmp_path: Path) -> None:
    """The folder is bounded, whoever wrote into it."""
    disk(tmp_path, identity="old").save(TOKENS, (), LLAMA_CPPS, bytes(6000))
    newer = disk(tmp_path, limit_bytes=10_000)
    newer.save(TOKENS, (), LLAMA_CPPS, bytes(6000))
    assert not disk(tmp_path, identity="old").heads()
    assert len(newer.heads()) == 1


def test_saved_files_are_the_owners_alone(tmp_path: Path) -> None:
    """A conversation is nobody else's to read."""
    folder = tmp_path / "kv"
    path = disk(folder).save(TOKENS, (), LLAMA_CPPS, b"x")
    assert (folder.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)


def test_tier_unwritable_disk_loses_only_the_sequence(tmp_path: Path) -> None:
    """A full or forbidden disk is logged, and the runner goes on."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    tier = Tier(memory_bytes=1 << 20, disk=disk(blocked / "kv"))
    tier.keep(kept())
    tier.close()


def test_tier_file_stays_until_its_successor_is_written(tmp_path: Path) -> None:
    """Whenever the process is killed, one of the two is there."""
    first = Tier(memory_bytes=1 << 20, disk=disk(tmp_path))
    first.keep(kept())
    first.close()
    (older,) = tmp_path.iterdir()
    second = Tier(memory_bytes=1 << 20, disk=disk(tmp_path))
    second.keep(Kept((*TOKENS, 1), (), LLAMA_CPPS, bytes(2000)))
    second.keep(Kept((*TOKENS, 1, 2), (), LLAMA_CPPS, bytes(3000)))
    assert [*tmp_path.iterdir()] == [older]
    second.close()
    assert [len(head.tokens) for _, head in disk(tmp_path).heads()] == [102]
    assert not older.exists()


def test_tier_slots_that_wait_for_one_sequence_share_its_reading(tmp_path: Path) -> None:
    """The file is read once, and what it gave is not taken for another's."""
    tier = Tier(memory_bytes=1 << 20, disk=disk(tmp_path))
    tier.keep(kept(1))
    tier.keep(kept(2, size=2000))
    tier.close()
    told = threading.Event()
    again = Tier(memory_bytes=1 << 20, disk=disk(tmp_path), on_read=told.set)
    one, two = (again.find([first], ()) for first in (1, 2))
    assert one is not None
    assert two is not None
    readings = [again.cells(each) for each in (one[0], one[0], two[0])]
    assert readings[0] is readings[1]
    assert told.wait(10)
    assert isinstance(readings[0], Reading)
    assert again.cells(two[0], readings[0]) is readings[2]
    assert read(again, two[0]) == bytes(2000)


def test_tier_disk_knows_which_was_used_last(tmp_path: Path) -> None:
    """A runner that ends writes the latest first, for as long as it may; the oldest is the first to go all the same."""
    tier = Tier(memory_bytes=1 << 20, disk=disk(tmp_path))
    for first in (1, 2, 3):
        tier.keep(kept(first))
    tier.close()
    assert [head.tokens[0] for _, head in disk(tmp_path).heads()] == [1, 2, 3]


def test_tier_latest_is_read_before_its_prompt_comes(tmp_path: Path) -> None:
    """The cells are there when the first prompt continues them, though their file has gone meanwhile."""
    again = tier_that_has_read(tmp_path)
    found = again.find([2], ())
    assert found is not None
    path_of(found[0]).unlink()
    assert again.cells(found[0]) == bytes(2000)


def test_tier_latest_is_dropped_when_the_first_prompt_is_another(tmp_path: Path) -> None:
    """It would take memory for a conversation that has not come back."""
    again = tier_that_has_read(tmp_path)
    assert again.find([1], ()) is not None
    latest = again.find([2], ())
    assert latest is not None
    path_of(latest[0]).unlink()
    assert read(again, latest[0]) is None


def test_tier_latest_too_large_for_memory_waits_on_disk(tmp_path: Path) -> None:
    """What is read before it is asked for has the bound that holds for all cells in memory."""
    again = tier_that_has_read(tmp_path, memory_bytes=1999)
    other, latest = again.find([1], ()), again.find([2], ())
    assert other is not None
    assert latest is not None
    unread_ns = path_of(latest[0]).stat().st_mtime_ns  # reading is a use, and told by the clock
    assert read(again, other[0]) == bytes(1000)  # the reader does one after the other
    assert path_of(latest[0]).stat().st_mtime_ns == unread_ns


def tier_that_has_read(folder: Path, *, memory_bytes: int = 1 << 20) -> Tier:
    """Give the tier of a runner that has just loaded: [1…] of 1,000 and then [2…] of 2,000 bytes were kept before."""
    before = Tier(memory_bytes=1 << 20, disk=disk(folder))
    before.keep(kept(1))
    before.keep(kept(2, size=2000))
    before.close()
    told = threading.Event()
    again = Tier(memory_bytes=memory_bytes, disk=disk(folder), on_read=told.set)
    again.read_latest()
    if memory_bytes >= 2000:
        assert told.wait(10)
    return again


def path_of(one: Kept) -> Path:
    """Give the file of a sequence that is on disk."""
    assert one.path is not None
    return one.path


def test_tier_lost_file_is_forgotten(tmp_path: Path) -> None:
    """Another runner may have made room; the sequence is then looked for elsewhere."""
    tier = Tier(memory_bytes=1 << 20, disk=disk(tmp_path))
    tier.keep(kept())
    tier.close()
    again = Tier(memory_bytes=1 << 20, disk=disk(tmp_path))
    found = again.find(TOKENS, ())
    assert found is not None
    next(tmp_path.iterdir()).unlink()
    assert read(again, found[0]) is None
    assert again.find(TOKENS, ()) is None


def test_tier_wants_nothing_short_and_nothing_when_off() -> None:
    """A short sequence is evaluated again sooner than it is looked for."""
    assert not Tier(memory_bytes=0).wants(TOKENS, ())
    assert not Tier(memory_bytes=1 << 20).wants(TOKENS[: LEAST_TOKENS - 1], ())
    assert Tier(memory_bytes=1 << 20).wants(TOKENS, ())
