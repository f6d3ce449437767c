import pytest

from forecast.serving.cores import CoreBoard


def boards_of(folder, replicas, cores):
    path = folder / "cores"
    path.write_bytes(bytes(replicas))
    return [CoreBoard(path, slot=slot, cores=cores) for slot in range(replicas)]


@pytest.fixture
def boards(tmp_path):
    made = boards_of(tmp_path, 2, 4)
    yield made
    for board in made:
        board.close()


def test_a_lone_call_has_all_cores(boards):
    with boards[0].claim() as count:
        assert count == 4
    with boards[1].claim() as count:
        assert count == 4


def test_calls_at_once_soon_have_their_share_each(boards):
    with boards[0].claim() as first, boards[1].claim() as second:
        assert (first, second) == (4, 2)
        with boards[0].claim() as next_call:
            assert next_call == 2


def test_a_call_takes_what_the_others_leave(tmp_path):
    three = boards_of(tmp_path, 3, 9)
    with three[0].claim(), three[1].claim() as second, three[0].claim() as again:
        assert (second, again) == (3, 6)
    for board in three:
        board.close()


def test_a_call_that_fails_gives_its_cores_back(boards):
    with pytest.raises(ValueError, match="broken"), boards[0].claim():
        raise ValueError("broken")
    with boards[1].claim() as count:
        assert count == 4


def test_a_slot_that_died_at_work_is_free_again_when_it_restarts(tmp_path):
    dead, other = boards_of(tmp_path, 2, 4)
    at_work = dead.claim()
    at_work.__enter__()
    CoreBoard(tmp_path / "cores", slot=0, cores=4).close()
    with other.claim() as count:
        assert count == 4


def test_more_replicas_than_cores_have_one_each(tmp_path):
    board, other, *_ = boards_of(tmp_path, 8, 2)
    with board.claim(), other.claim() as count:
        assert count == 1
