"""What the cache forgets first, and whose it is."""

from __future__ import annotations

from ownlm.engine.block_manager import BlockManager
from ownlm.engine.block_table import BlockTable, Owner


def computed(manager: BlockManager, tokens: list[int], *owners: Owner) -> BlockTable:
    table = BlockTable(owners)
    assert manager.grow(table, 0, len(tokens))
    manager.register(table, tokens, len(tokens))
    return table


def found(manager: BlockManager, tokens: list[int]) -> int:
    return len(manager.find(BlockTable(), tokens, len(tokens)))


def test_a_prefix_is_eaten_from_its_end_and_the_oldest_goes_first() -> None:
    manager = BlockManager(6, 2)
    for first in (1, 2):
        manager.release(computed(manager, [first] * 6))
    assert found(manager, [1] * 6) == found(manager, [2] * 6) == 3
    table = computed(manager, [3] * 4)
    assert (found(manager, [1] * 6), found(manager, [2] * 6)) == (1, 3)
    manager.release(table)
    again = BlockTable()
    manager.attach(again, manager.find(again, [1] * 6, 6))  # touched: now the youngest
    manager.release(again)
    computed(manager, [4] * 6)
    assert (found(manager, [1] * 6), found(manager, [2] * 6), found(manager, [3] * 4)) == (1, 0, 2)


def test_the_same_contents_are_kept_once() -> None:
    manager = BlockManager(8, 2)
    one = computed(manager, [5] * 5)
    two = computed(manager, [5] * 5)
    assert one.blocks[:2] == two.blocks[:2] and one.blocks[2] != two.blocks[2]
    assert manager.used == 4 and manager.audit([one, two]) == ""


def test_purging_reaches_what_depends_on_the_text_and_nothing_else() -> None:
    manager = BlockManager(8, 2)
    held = computed(manager, [1, 1, 2, 2, 3, 3], Owner("letter", 2))
    manager.release(computed(manager, [9] * 4, Owner("book", 0)))
    assert manager.purge("letter") == 2
    assert (found(manager, [1, 1, 2, 2, 3, 3]), found(manager, [9] * 4)) == (1, 2)
    assert manager.audit([held]) == ""
    manager.release(held)
    assert (manager.free, manager.cached, manager.used) == (5, 3, 0)
    assert manager.audit() == ""


def test_a_hit_adds_its_own_owners() -> None:
    manager = BlockManager(8, 2)
    manager.release(computed(manager, [1] * 4, Owner("letter", 0)))
    table = BlockTable([Owner("book", 2)])
    manager.attach(table, manager.find(table, [1] * 4, 4))
    manager.release(table)
    assert manager.purge("book") == 1 and manager.purge("letter") == 1
    assert manager.free == 8
